"""Figures as an evaluation writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.metrics import AttributeDistribution, SemanticSimilarity
from fairlit.results.run import OperatingFigures, RunSummary, VariantFigures

ATTRIBUTES = {"gender": {"female": 0.5, "male": 0.5}, "age": {"young": 0.75, "old": 0.25}}


def figures(share: float, attributes: list[str], semantics: bool = True, faces: bool = True) -> VariantFigures:
    """Real figures of two prompts of 20 images, of which `share` are of the first class."""
    target = TargetDistribution({name: ATTRIBUTES.get(name, ATTRIBUTES["gender"]) for name in attributes})
    count = 20 if faces else 0
    first = (torch.arange(count) < share * count).float()[:, None]
    metric, similarity = AttributeDistribution(target, draws=50), SemanticSimilarity(draws=50)
    for prompt in (0, 1):
        prompts = torch.full((20,), prompt)
        rows = torch.cat([0.9 * first + 0.1 * (1 - first), 0.1 * first + 0.9 * (1 - first)], dim=1)
        metric.update(prompts, dict.fromkeys(attributes, rows), torch.arange(count))
        if semantics:
            features = torch.nn.functional.one_hot(prompts, 4).float()
            similarity.update(prompts, clip=features, clip_references=features, clip_texts=features)
        else:
            similarity.update(prompts)
    return VariantFigures(similarities=similarity.compute(), distribution=metric.compute())


def measured_at(
    guidance_scale: float,
    *,
    strength: float = 1.0,
    steps: int | None = None,
    shares: tuple[float, float] = (1.0, 0.6),
    attributes: Sequence[str] = ("gender",),
) -> OperatingFigures:
    """Figures at an operating point, `shares` of the first class before and after."""
    before, after = (figures(share, list(attributes)) for share in shares)
    return OperatingFigures(guidance_scale=guidance_scale, strength=strength, steps=steps, before=before, after=after)


def summary_of(
    points: Sequence[OperatingFigures], sampling: dict[str, Any], *, attributes: Sequence[str] = ("gender",)
) -> RunSummary:
    """The summary of a test at the usual point and at others."""
    usual = measured_at(0.0, attributes=attributes)
    return RunSummary(
        before=usual.before,
        after=usual.after,
        families={},
        after_is="ema",
        adaptor="digest",
        judge="judge",
        judge_is_trainer=False,
        wall_seconds=3.0,
        fit_seconds=2.0,
        test_seconds=1.0,
        version="0.1.0",
        sampling=sampling,
        config={},
        operating_points=tuple(points),
    )
