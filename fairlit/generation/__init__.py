"""Images for prompts, by any mitigation method: what ``fairlit generate`` does, and an audit of a model begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairlit.lazy import lazy_exports

if TYPE_CHECKING:
    from fairlit.generation.generate import generate as generate
    from fairlit.generation.plan import GenerationPlan as GenerationPlan
    from fairlit.generation.plan import PlannedImage as PlannedImage
    from fairlit.generation.run import make_images as make_images

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "GenerationPlan": "fairlit.generation.plan",
        "PlannedImage": "fairlit.generation.plan",
        "generate": "fairlit.generation.generate",
        "make_images": "fairlit.generation.run",
    },
)
