"""Regeneration of chosen faces of finished images."""
