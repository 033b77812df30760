"""Frozen encoders that judge how alike two pictures are, and how well a picture fits a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairlit.lazy import lazy_exports

if TYPE_CHECKING:
    from fairlit.perception.clip import ClipEncoder as ClipEncoder
    from fairlit.perception.dino import DinoEncoder as DinoEncoder

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "ClipEncoder": "fairlit.perception.clip",
        "DinoEncoder": "fairlit.perception.dino",
    },
)
