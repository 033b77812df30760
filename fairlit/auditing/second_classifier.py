"""How much of a distance to the target is disagreement of two classifiers that look at the same faces."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fairlit.auditing.judged_folder import JudgedFolder
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.statistics.bootstrap import cluster_bootstrap, frequencies
from fairlit.functional.statistics.counts import class_counts
from fairlit.functional.statistics.distance_parts import distance_parts
from fairlit.results.distances import PromptDistance, SecondClassifierFigures
from fairlit.results.record import Estimate


def measure_second_classifier(
    judged: JudgedFolder, target: TargetDistribution, *, seed: int = 0
) -> SecondClassifierFigures:
    """Return how often two classifiers agree, and what the distance of every prompt with faces is made of.

    Args:
        judged: images, and what both classifiers saw in their faces.
        target: target distribution, classes in the order of the probabilities.
        seed: seed of the bootstrap over prompts.
    """
    of_face = torch.tensor(
        [image.prompt for image, seen in zip(judged.folder.images, judged.seen, strict=True) for _ in seen.faces],
        dtype=torch.long,
    )
    faces = [face for seen in judged.seen for face in seen.faces]
    agreement: dict[str, Estimate] = {}
    distances: list[PromptDistance] = []
    for name, classes in target.classes.items():
        first = _labels([face.probabilities for face in faces], name)
        second = _labels([face.second for face in faces], name)
        size = {"prompts": len(judged.folder.prompts)}
        alike = class_counts(of_face, (first != second).long(), classes=2, **size)
        counts, others = (class_counts(of_face, labels, classes=len(classes), **size) for labels in (first, second))
        agreement[name] = _mean_share(alike, seed)
        for number in counts.sum(dim=1).nonzero().flatten().tolist():
            parts = distance_parts(
                target.marginal(name).tolist(),
                frequencies(counts[number]).tolist(),
                frequencies(others[number]).tolist(),
                faces=int(counts[number].sum()),
            )
            distances.append(
                PromptDistance(
                    prompt=judged.folder.prompts[number],
                    attribute=name,
                    faces=int(counts[number].sum()),
                    distance=parts.distance,
                    chance=parts.chance,
                    classifiers=parts.classifiers,
                    solver_steps=None,
                    model=parts.model,
                    agreement=float(frequencies(alike[number])[0]),
                )
            )
    return SecondClassifierFigures(agreement=agreement, distances=tuple(distances))


def _labels(probabilities: Sequence[Mapping[str, Sequence[float]]], name: str) -> Tensor:
    """Return the most probable class of each face, int64 [F]."""
    rows = [max(range(len(own[name])), key=own[name].__getitem__) for own in probabilities]
    return torch.tensor(rows, dtype=torch.long)


def _mean_share(counts: Tensor, seed: int) -> Estimate:
    """Return the share of the first class of counts [P, 2], averaged over prompts, with its 95 % interval."""
    counts = counts[counts.sum(dim=1) > 0]
    if not len(counts):
        return Estimate(math.nan)
    low, high = cluster_bootstrap(counts, lambda drawn: drawn[:, :, 0].mean(dim=1), seed=seed)
    return Estimate(float(frequencies(counts)[:, 0].mean()), max(0.0, low), min(1.0, high))
