"""At which guidance scales, strengths of the adaptor and numbers of solver steps a finetuned model is tested."""

from __future__ import annotations

from dataclasses import dataclass

from fairlit.training.finetuning.settings import Sampling


@dataclass(frozen=True)
class OperatingPoint:
    """What people turn when they use an adaptor.

    Attributes:
        guidance_scale: scale of classifier-free guidance.
        strength: factor on the adaptor's update; 1: as trained.
        steps: number of solver steps; None: that of the settings.
    """

    guidance_scale: float
    strength: float = 1.0
    steps: int | None = None

    @property
    def name(self) -> str:
        """The point in one word, for tags of figures."""
        strength = "" if self.strength == 1 else f"_strength_{self.strength:g}"
        return f"guidance_{self.guidance_scale:g}{strength}" + ("" if self.steps is None else f"_steps_{self.steps}")


def operating_points(sampling: Sampling) -> list[OperatingPoint]:
    """Return the points of a test, that of `sampling.guidance_scale` and full strength first, none of them twice."""
    usual = OperatingPoint(sampling.guidance_scale)
    others = [OperatingPoint(scale) for scale in sampling.evaluation_guidance_scales]
    others += [OperatingPoint(sampling.guidance_scale, strength) for strength in sampling.evaluation_strengths]
    others += [
        OperatingPoint(sampling.guidance_scale, steps=steps)
        for steps in sampling.evaluation_step_counts
        if steps != sampling.evaluation_steps
    ]
    return list(dict.fromkeys([usual, *others]))
