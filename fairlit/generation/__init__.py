"""Images for prompts, by any mitigation method: what ``fairlit generate`` does, and an audit of a model begins with."""

from fairlit.generation.plan import GenerationPlan, PlannedImage
from fairlit.generation.run import generate

__all__ = ["GenerationPlan", "PlannedImage", "generate"]
