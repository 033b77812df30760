"""Figures of methods on the same prompts and the same noise, and of the differences between any two of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fairlit.auditing.judged_folder import JudgedFolder
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.statistics.bootstrap import cluster_bootstrap_difference, cluster_bootstrap_mean, frequencies
from fairlit.functional.statistics.counts import class_counts, joint_classes, pair_counts
from fairlit.functional.statistics.fairness import pairwise_biases, total_variations
from fairlit.judging.image_folders import ImageFolder
from fairlit.metrics.distribution import why_without_joint_classes
from fairlit.results.comparison import BlockDifference, Difference, Standing, difference_of
from fairlit.results.figures import DistributionFigures, Similarities
from fairlit.results.record import Estimate

SIMILARITIES = ("clip_i", "dino", "clip_t")
_ROUNDING = 1e-9  # equal figures may differ by as much in their last digits

_Faces = tuple[Tensor, Tensor]
Grid = tuple[int, int]
"""Numbers of prompts and of images of each: the same for all methods."""


@dataclass(frozen=True)
class MethodFigures:
    """What was measured of one method, image by image.

    Attributes:
        judged: its images of the judged prompts, what was seen in them, and their figures.
        similarities: name out of `SIMILARITIES` -> similarities of these images [P, n]; NaN where there is no image.
        unrelated: the same for unrelated prompts [Q, m]; empty without any.
    """

    judged: JudgedFolder
    similarities: Mapping[str, Tensor]
    unrelated: Mapping[str, Tensor]


def grid_rows(folder: ImageFolder, grid: Grid) -> Tensor:
    """Return where each image of a folder stands in the grid of prompts and images: int64 [N] in 0..P * n - 1."""
    return torch.tensor([image.prompt * grid[1] + image.number for image in folder.images], dtype=torch.long)


def perceived_labels(judged: JudgedFolder, target: TargetDistribution, grid: Grid) -> Tensor:
    """Return the perceived class of each attribute in each image, int64 [P * n, A]; -1 without a face or an image."""
    labels = torch.full((grid[0] * grid[1], len(target.attributes)), -1)
    for row, seen in zip(grid_rows(judged.folder, grid).tolist(), judged.seen, strict=True):
        if seen.box is not None:
            labels[row] = torch.tensor([_most_likely(seen.probabilities[name]) for name in target.attributes])
    return labels


def perceived_faces(judged: JudgedFolder, target: TargetDistribution) -> tuple[Tensor, Tensor]:
    """Return every face that counts: the number of its prompt int64 [F], and its class of each attribute [F, A]."""
    prompts, labels = [], []
    for image, seen in zip(judged.folder.images, judged.seen, strict=True):
        for face in seen.faces:
            prompts.append(image.prompt)
            labels.append([_most_likely(face.probabilities[name]) for name in target.attributes])
    return torch.tensor(prompts).long(), torch.tensor(labels).long().view(len(labels), len(target.attributes))


def similarity_grid(first: Tensor, second: Tensor) -> Tensor:
    """Return cosine similarities of directions [..., D] of length 1; NaN where one is missing."""
    return (first * second).sum(dim=-1)


def similarity_figures(values: Mapping[str, Tensor], seed: int = 0, reach: float = 1.0) -> Similarities:
    """Return means over prompts of the means over images.

    Args:
        values: name -> [P, n], NaN where there is no image.
        seed: seed of the bootstrap.
        reach: largest value that there can be, and the negative of the smallest; intervals are cut there.
    """
    figures = {}
    for name, grid in values.items():
        groups = _present(grid)
        mean = float(torch.stack([group.mean() for group in groups]).mean()) if groups else float("nan")
        figures[name] = Estimate(mean, *cluster_bootstrap_mean(groups, seed=seed, reach=reach))
    return Similarities(**figures)


def differences(
    methods: Mapping[str, MethodFigures], target: TargetDistribution, grid: Grid, seed: int = 0
) -> tuple[Difference, ...]:
    """Compare every method with every other one, paired by prompt and noise.

    Prompts that one of both has no face in are left out. Where several faces of an image count, images are paired by
    prompt alone: a face of one method is not a face of the other.

    Args:
        methods: name -> figures.
        target: target distribution, classes in the order of the probabilities.
        grid: numbers of the judged prompts and of images of each.
        seed: seed of the bootstrap.
    """
    several = any(seen.others for entry in methods.values() for seen in entry.judged.seen)
    joint = len(target.attributes) > 1 and why_without_joint_classes(target) is None
    prompts = torch.arange(grid[0]).repeat_interleave(grid[1])
    faces = {
        name: perceived_faces(entry.judged, target)
        if several
        else (prompts, perceived_labels(entry.judged, target, grid))
        for name, entry in methods.items()
    }

    def difference(first: str, second: str) -> Difference:
        pair = _PairedFaces(faces[first], faces[second], grid[0], paired=not several, seed=seed)
        blocks = {name: pair.difference(column, target) for column, name in enumerate(target.attributes)}
        return Difference(
            first=first,
            second=second,
            attributes=blocks,
            joint_classes=pair.difference(None, target) if joint else None,
            similarities=_similarity_differences(methods[first].similarities, methods[second].similarities, seed),
            unrelated=_similarity_differences(methods[first].unrelated, methods[second].unrelated, seed),
        )

    return tuple(difference(first, second) for first, second in itertools.combinations(methods, 2))


def standing(found: tuple[Difference, ...], figures: Mapping[str, DistributionFigures], block: str) -> Standing:
    """Return which method is nearest to the target in one block, and of which others that is shown.

    Args:
        found: differences from `differences`.
        figures: method -> figures of its images.
        block: name of an attribute, or `JOINT`.
    """
    distances = {name: one.blocks[block].tv for name, one in figures.items()}
    seen = {name: tv.value for name, tv in distances.items() if tv.known}
    if not seen:
        return Standing(best=None)
    best = min(seen, key=lambda name: seen[name])
    others = [name for name in seen if name != best]
    ahead = [name for name in others if difference_of(found, best, name).blocks[block].tv.high < -_ROUNDING]
    behind = [name for name in others if name not in ahead]
    return Standing(best=best, ahead_of=tuple(ahead), not_ahead_of=tuple(behind))


@dataclass(frozen=True)
class _PairedFaces:
    """Faces of two methods.

    Attributes:
        first: numbers of prompts [F] and labels [F, A] of the one.
        second: the same of the other.
        prompts: number of prompts.
        paired: whether rows are of the same noise.
        seed: seed of the bootstrap.
    """

    first: _Faces
    second: _Faces
    prompts: int
    paired: bool
    seed: int

    def difference(self, column: int | None, target: TargetDistribution) -> BlockDifference:
        """Difference in the attribute in `column`, or in the joint classes."""
        if column is None:
            shares = target.table.flatten()
            labels = [joint_classes(rows, target.table.shape) for _, rows in (self.first, self.second)]
        else:
            shares = target.marginal(target.attributes[column])
            labels = [rows[:, column] for _, rows in (self.first, self.second)]
        size = {"prompts": self.prompts, "classes": len(shares)}
        counts = class_counts(self.first[0], labels[0], **size), class_counts(self.second[0], labels[1], **size)
        pairs = pair_counts(self.first[0], labels[0], labels[1], **size) if self.paired else None
        used = (counts[0].sum(dim=1) > 0) & (counts[1].sum(dim=1) > 0)

        def estimate(statistic: Callable[[Tensor], Tensor]) -> Estimate:
            one, other = (statistic(frequencies(rows[used])[None]) for rows in counts)
            low, high = cluster_bootstrap_difference(*counts, statistic, pairs=pairs, seed=self.seed)
            if bool(used.any()):
                low, high = max(low, -1.0), min(high, 1.0)
            return Estimate(float(one - other), low, high)

        return BlockDifference(
            tv=estimate(lambda shown: total_variations(shown, shares).mean(dim=1)),
            bias=estimate(lambda shown: pairwise_biases(shown).mean(dim=1)),
        )


def _similarity_differences(first: Mapping[str, Tensor], second: Mapping[str, Tensor], seed: int) -> Similarities:
    return similarity_figures({name: first[name] - second[name] for name in first}, seed, reach=2.0)


def _most_likely(probabilities: Sequence[float]) -> int:
    return max(range(len(probabilities)), key=probabilities.__getitem__)


def _present(grid: Tensor) -> list[Tensor]:
    """The values of each prompt that are there; prompts without any are left out."""
    groups = [row[~row.isnan()].double() for row in grid]
    return [group for group in groups if len(group)]


def excludes_zero(difference: Estimate) -> bool:
    """Return whether a difference is shown to be one.

    Example:
        >>> excludes_zero(Estimate(-0.15, -0.2, -0.1)), excludes_zero(Estimate(-0.05, -0.2, 0.1))
        (True, False)
    """
    return difference.low > _ROUNDING or difference.high < -_ROUNDING
