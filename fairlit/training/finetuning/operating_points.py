"""At which guidance scales, and at which strengths of the adaptor, a finetuned model is tested."""

from __future__ import annotations

from dataclasses import dataclass

from fairlit.training.finetuning.settings import Sampling


@dataclass(frozen=True)
class OperatingPoint:
    """What people turn when they use an adaptor.

    Attributes:
        guidance_scale: scale of classifier-free guidance.
        strength: factor on the adaptor's update; 1: as trained.
    """

    guidance_scale: float
    strength: float = 1.0

    @property
    def name(self) -> str:
        """The point in one word, for tags of figures."""
        return f"guidance_{self.guidance_scale:g}" + ("" if self.strength == 1 else f"_strength_{self.strength:g}")


def operating_points(sampling: Sampling) -> list[OperatingPoint]:
    """Return the points of a test, that of `sampling.guidance_scale` and full strength first, none of them twice."""
    usual = OperatingPoint(sampling.guidance_scale)
    others = [OperatingPoint(scale) for scale in sampling.evaluation_guidance_scales]
    others += [OperatingPoint(sampling.guidance_scale, strength) for strength in sampling.evaluation_strengths]
    return list(dict.fromkeys([usual, *others]))
