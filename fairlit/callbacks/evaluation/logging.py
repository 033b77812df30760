"""Figures for the logger."""

from __future__ import annotations

from fairlit.results.figures import JOINT
from fairlit.results.run import GroupedFigures

_JOINT_TAG = "joint"


def logged_figures(results: GroupedFigures, stage: str) -> dict[str, float]:
    """Return tag -> value, such as ``val/finetuned/bias/gender``.

    Args:
        results: figures of every group, or operating point, and variant.
        stage: first part of the tags: ``val``, ``test``, or ``operating_points``, which no group can be taken for.
    """
    tags: dict[str, float] = {}
    for group, variants in results.items():
        for variant, figures in variants.items():
            prefix = "/".join(part for part in (stage, group, variant) if part)
            distribution = figures.distribution
            for name, block in distribution.blocks.items():
                tag = _JOINT_TAG if name == JOINT else name
                tags[f"{prefix}/bias/{tag}"] = block.bias.value
                tags[f"{prefix}/noise_floor/{tag}"] = block.bias.floor
                tags[f"{prefix}/tv/{tag}"] = block.tv.value
                tags[f"{prefix}/tv_noise_floor/{tag}"] = block.tv.floor
            tags[f"{prefix}/face_rate"] = distribution.face_rate
            tags[f"{prefix}/unsure"] = distribution.unsure
            for name, similarity in figures.similarities.measured.items():
                tags[f"{prefix}/{name}"] = similarity.value
    return tags
