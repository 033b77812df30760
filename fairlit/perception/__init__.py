"""Frozen encoders that judge how alike two pictures are, and how well a picture fits a text."""

from fairlit.perception.clip import ClipEncoder
from fairlit.perception.dino import DinoEncoder

__all__ = ["ClipEncoder", "DinoEncoder"]
