"""Closed-form edits of attention and of prompt embeddings."""
