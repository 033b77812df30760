"""Geometry of face boxes: crops, matching and regions."""
