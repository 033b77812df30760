"""Curves of what a test measured over guidance scales, strengths of the adaptor and numbers of solver steps."""

from __future__ import annotations

from dataclasses import dataclass

from fairlit.results.run import OperatingFigures, RunSummary

CURVES_FILE = "operating_points.png"
"""Name of the picture in the folders of runs and adaptors."""


@dataclass(frozen=True, kw_only=True)
class OperatingCurve:
    """Points that differ in one thing alone.

    Attributes:
        title: what differs.
        places: where on the axis each point lies, in ascending order.
        points: figures of each.
        trained: range that training took its values from; None where that was one value, or is not known.
    """

    title: str
    places: tuple[float, ...]
    points: tuple[OperatingFigures, ...]
    trained: tuple[float, float] | None = None


def operating_curves(summary: RunSummary) -> list[OperatingCurve]:
    """Return the curves over guidance scales, strengths and solver steps, as far as a test measured two points each."""
    usual = summary.usual_point
    settings = summary.sampling

    def curve(title: str, name: str, low: object = None, high: object = None) -> OperatingCurve:
        fixed = {"guidance_scale", "strength", "steps"} - {name}
        points = [point for point in summary.points if all(getattr(point, one) == getattr(usual, one) for one in fixed)]
        known = isinstance(low, int | float) and isinstance(high, int | float) and low < high
        trained = (float(low), float(high)) if known else None  # type: ignore[arg-type]
        return OperatingCurve(
            title=title, places=tuple(getattr(one, name) for one in points), points=tuple(points), trained=trained
        )

    guidance = (settings.get("min_guidance_scale"), settings.get("max_guidance_scale"))
    steps = (settings.get("min_steps"), settings.get("max_steps"))
    curves = [
        curve("guidance scale", "guidance_scale", *guidance),
        curve("strength of the adaptor", "strength"),
        curve("solver steps", "steps", *steps),
    ]
    return [one for one in curves if len(one.places) > 1]
