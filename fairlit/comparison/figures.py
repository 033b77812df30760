"""Figures of methods on the same prompts and the same noise, and of the differences between any two of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fairlit.auditing.measure import JOINT, blocks_of
from fairlit.auditing.report import Audited
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.statistics.bootstrap import cluster_bootstrap_difference, cluster_bootstrap_mean, frequencies
from fairlit.functional.statistics.counts import class_counts, joint_classes, pair_counts
from fairlit.functional.statistics.fairness import pairwise_biases, total_variations
from fairlit.functional.statistics.intervals import Interval
from fairlit.judging.image_folders import ImageFolder

SIMILARITIES = ("clip_i", "dino", "clip_t")
_ROUNDING = 1e-9  # equal figures may differ by as much in their last digits

_Faces = tuple[Tensor, Tensor]
Grid = tuple[int, int]
"""Numbers of prompts and of images of each: the same for all methods."""


@dataclass(frozen=True)
class MethodFigures:
    """What is known of one method.

    Attributes:
        audited: its images of the judged prompts, what was seen in them, and their figures from
        `auditing.measure.measure`.
        similarities: of these images, name out of `SIMILARITIES` -> [P, n]; NaN where there is no image.
        unrelated: the same for unrelated prompts [Q, m]; empty without any.
    """

    audited: Audited
    similarities: Mapping[str, Tensor]
    unrelated: Mapping[str, Tensor]


def grid_rows(folder: ImageFolder, grid: Grid) -> Tensor:
    """Where each image of a folder stands in the grid of prompts and images: int64 [N] in 0..P * n - 1."""
    return torch.tensor([image.prompt * grid[1] + image.number for image in folder.images], dtype=torch.long)


def perceived_labels(audited: Audited, target: TargetDistribution, grid: Grid) -> Tensor:
    """The perceived class of each attribute in each image, int64 [P * n, A]; -1 without a face or an image."""
    labels = torch.full((grid[0] * grid[1], len(target.attributes)), -1)
    for row, seen in zip(grid_rows(audited.folder, grid).tolist(), audited.seen, strict=True):
        if seen.box is not None:
            labels[row] = torch.tensor([_most_likely(seen.probabilities[name]) for name in target.attributes])
    return labels


def perceived_faces(audited: Audited, target: TargetDistribution) -> tuple[Tensor, Tensor]:
    """Every face that counts: the number of its prompt int64 [F], and its perceived class of each attribute [F, A]."""
    prompts, labels = [], []
    for image, seen in zip(audited.folder.images, audited.seen, strict=True):
        for face in seen.faces:
            prompts.append(image.prompt)
            labels.append([_most_likely(face.probabilities[name]) for name in target.attributes])
    return torch.tensor(prompts).long(), torch.tensor(labels).long().view(len(labels), len(target.attributes))


def similarity_grid(first: Tensor, second: Tensor) -> Tensor:
    """Cosine similarities of directions [..., D] of length 1; NaN where one is missing."""
    return (first * second).sum(dim=-1)


def similarity_figures(values: Mapping[str, Tensor], seed: int = 0, reach: float = 1.0) -> dict[str, Any]:
    """Means over prompts of the means over images, each with its interval under ``NAME_ci``.

    Args:
        values: name -> [P, n], NaN where there is no image.
        seed: of the bootstrap.
        reach: no value is larger, or smaller than its negative; intervals are cut there.
    """
    figures: dict[str, Any] = {}
    for name, grid in values.items():
        groups = _present(grid)
        figures[name] = float(torch.stack([group.mean() for group in groups]).mean()) if groups else float("nan")
        low, high = cluster_bootstrap_mean(groups, seed=seed)
        figures[f"{name}_ci"] = (max(low, -reach), min(high, reach)) if groups else (low, high)
    return figures


def differences(
    methods: Mapping[str, MethodFigures], target: TargetDistribution, grid: Grid, seed: int = 0
) -> list[dict[str, Any]]:
    """Every method against every other one, paired by prompt and noise.

    Args:
        methods: name -> figures.
        target: what they are judged against, classes in the order of the probabilities.
        grid: of the judged prompts.
        seed: of the bootstrap.

    Returns:
        One entry for each pair, `first` and `second`: under `attributes` (and `joint`, where there are several) the
        differences of `tv` and `bias`, first minus second, below 0 where the first is nearer; under `similarities` and
        `unrelated` those of the similarities, above 0 where the first keeps more. Each difference has its interval
        under ``NAME_ci``. Prompts that one of both has no face in are left out. Where several faces of an image count,
        images are paired by prompt alone: a face of one method is no face of the other.
    """
    several = any(seen.others for entry in methods.values() for seen in entry.audited.seen)
    prompts = torch.arange(grid[0]).repeat_interleave(grid[1])
    faces = {
        name: perceived_faces(entry.audited, target)
        if several
        else (prompts, perceived_labels(entry.audited, target, grid))
        for name, entry in methods.items()
    }
    return [
        {
            "first": first,
            "second": second,
            **_fairness_differences(faces[first], faces[second], target, grid[0], not several, seed),
            "similarities": _similarity_differences(methods[first].similarities, methods[second].similarities, seed),
            "unrelated": _similarity_differences(methods[first].unrelated, methods[second].unrelated, seed),
        }
        for first, second in itertools.combinations(methods, 2)
    ]


def difference_of(
    found: Sequence[Mapping[str, Any]], first: str, second: str, block: str, name: str
) -> Mapping[str, Any]:
    """One difference out of `differences`, whichever way round it stands there.

    Args:
        found: from `differences`.
        first: a method.
        second: another one.
        block: an attribute, `JOINT`, ``similarities`` or ``unrelated``.
        name: of the figure.

    Returns:
        `value` and `ci`, first minus second.
    """
    for entry in found:
        if {entry["first"], entry["second"]} == {first, second}:
            part = entry[block] if block in ("similarities", "unrelated") else blocks_of(entry)[block]
            value, (low, high) = part[name], part[f"{name}_ci"]
            if entry["first"] == first:
                return {"value": value, "ci": (low, high)}
            return {"value": -value, "ci": (-high, -low)}
    raise KeyError(f"no difference of {first!r} and {second!r}")


def standing(found: Sequence[Mapping[str, Any]], methods: Mapping[str, MethodFigures], block: str) -> dict[str, Any]:
    """Which method is nearest to the target in one block, and which others that is shown of.

    Returns:
        `best`: the method with the smallest distance; `ahead_of`: those whose difference to it has an interval that
        excludes 0; `not_ahead_of`: the rest. Methods without any face are in neither. `best` is None without faces.
    """
    distances = {name: blocks_of(entry.audited.figures)[block]["tv"] for name, entry in methods.items()}
    seen = {name: value for name, value in distances.items() if value == value}
    if not seen:
        return {"best": None, "ahead_of": [], "not_ahead_of": []}
    best = min(seen, key=lambda name: seen[name])
    others = [name for name in seen if name != best]
    ahead = [name for name in others if difference_of(found, best, name, block, "tv")["ci"][1] < -_ROUNDING]
    return {"best": best, "ahead_of": ahead, "not_ahead_of": [name for name in others if name not in ahead]}


def main_block(figures: Mapping[str, Any]) -> str:
    """The block that methods are ranked by: the joint classes, or the one attribute."""
    return list(blocks_of(figures))[-1]


def _fairness_differences(
    first: _Faces, second: _Faces, target: TargetDistribution, prompts: int, paired: bool, seed: int
) -> dict[str, Any]:
    """Differences of two methods' faces (numbers of prompts [F], labels [F, A]); `paired`: row by row of one noise."""

    def block(column: int | None, shares: Tensor) -> dict[str, Any]:
        rows = [
            (index, joint_classes(labels, target.table.shape) if column is None else labels[:, column])
            for index, labels in (first, second)
        ]
        return _block_differences(rows[0], rows[1], shares, prompts, paired, seed)

    blocks = {name: block(column, target.marginal(name)) for column, name in enumerate(target.attributes)}
    if len(blocks) == 1:
        return {"attributes": blocks}
    return {"attributes": blocks, JOINT: block(None, target.table.flatten())}


def _block_differences(
    first: _Faces, second: _Faces, shares: Tensor, prompts: int, paired: bool, seed: int
) -> dict[str, Any]:
    size = {"prompts": prompts, "classes": len(shares)}
    counts = class_counts(first[0], first[1], **size), class_counts(second[0], second[1], **size)
    pairs = pair_counts(first[0], first[1], second[1], **size) if paired else None
    used = (counts[0].sum(dim=1) > 0) & (counts[1].sum(dim=1) > 0)
    statistics: dict[str, Callable[[Tensor], Tensor]] = {
        "tv": lambda shown: total_variations(shown, shares).mean(dim=1),
        "bias": lambda shown: pairwise_biases(shown).mean(dim=1),
    }
    figures: dict[str, Any] = {}
    for name, statistic in statistics.items():
        one, other = (statistic(frequencies(rows[used])[None]) for rows in counts)
        figures[name] = float(one - other)
        low, high = cluster_bootstrap_difference(*counts, statistic, pairs=pairs, seed=seed)
        figures[f"{name}_ci"] = (max(low, -1.0), min(high, 1.0)) if bool(used.any()) else (low, high)
    return figures


def _similarity_differences(first: Mapping[str, Tensor], second: Mapping[str, Tensor], seed: int) -> dict[str, Any]:
    return similarity_figures({name: first[name] - second[name] for name in first}, seed, reach=2.0)


def _most_likely(probabilities: Sequence[float]) -> int:
    return max(range(len(probabilities)), key=probabilities.__getitem__)


def _present(grid: Tensor) -> list[Tensor]:
    """The values of each prompt that are there; prompts without any are left out."""
    groups = [row[~row.isnan()].double() for row in grid]
    return [group for group in groups if len(group)]


def interval_excludes_zero(interval: Interval) -> bool:
    """Whether a difference is shown to be one.

    Example:
        >>> interval_excludes_zero((-0.2, -0.1)), interval_excludes_zero((-0.2, 0.1))
        (True, False)
    """
    return interval[0] > _ROUNDING or interval[1] < -_ROUNDING
