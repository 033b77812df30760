"""Pictures of several people: how many were found, and which compositions the images have."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.statistics.composition import (
    Composition,
    composition_name,
    image_compositions,
    independent_compositions,
    people_found,
)
from fairlit.judging.image_folders import ImageFolder
from fairlit.judging.observations import Seen
from fairlit.metrics.distribution import MAX_MEASURED_CLASSES, DistributionStatistics
from fairlit.results.figures import CompositionFigures, GroupFigures

CompositionTargets = Mapping[int, Mapping[Composition, float]]
"""Number of people -> composition -> share, for one attribute."""


def measure_groups(
    folder: ImageFolder,
    seen: Sequence[Seen],
    target: TargetDistribution,
    *,
    compositions: Mapping[str, CompositionTargets] | None = None,
    seed: int = 0,
) -> GroupFigures:
    """Return people asked for and found, and compositions against what they should be.

    Of crowds, which may have more than `MAX_MEASURED_CLASSES` compositions, only the number of people is told.

    Args:
        folder: prompts and images.
        seen: what was seen in each image, all faces.
        target: target distribution, classes in the order of the probabilities in `seen`.
        compositions: attribute -> targets; where there is none, people drawn independently from the target.
        seed: seed of the bootstrap.
    """
    readable = [place for place, entry in enumerate(seen) if entry.damaged is None]
    numbers = {place: len(seen[place].faces) for place in readable}
    known = [(asked, numbers[place]) for place in readable if (asked := folder.images[place].num_people)]
    table = people_found([asked for asked, _ in known], [found for _, found in known])
    sizes = sorted({number for number in numbers.values() if number >= 2})
    return GroupFigures(
        found=table,
        exact=sum(row.get(asked, 0) for asked, row in table.items()) / max(len(known), 1) if known else None,
        per_image={
            asked: sum(found * images for found, images in row.items()) / sum(row.values())
            for asked, row in table.items()
        },
        compositions={
            size: {
                name: _composition_figures(
                    folder,
                    seen,
                    [place for place in readable if numbers[place] == size],
                    name=name,
                    classes=classes,
                    independent=independent_compositions(target.marginal(name), size),
                    asked=(compositions or {}).get(name, {}).get(size),
                    seed=seed,
                )
                for name, classes in target.classes.items()
                if math.comb(size + len(classes) - 1, size) <= MAX_MEASURED_CLASSES
            }
            for size in sizes
        },
    )


def _composition_figures(
    folder: ImageFolder,
    seen: Sequence[Seen],
    places: Sequence[int],
    *,
    name: str,
    classes: Sequence[str],
    independent: Mapping[Composition, float],
    asked: Mapping[Composition, float] | None,
    seed: int,
) -> CompositionFigures:
    """Figures of one attribute in the images at `places`, each with the same number of people."""
    faces = [(index, face) for index, place in enumerate(places) for face in seen[place].faces]
    image_index = torch.tensor([index for index, _ in faces])
    labels = torch.tensor([face.probabilities[name] for _, face in faces]).argmax(dim=1)
    counts = image_compositions(image_index, labels, images=len(places), classes=len(classes))
    every, target_shares = list(independent), asked or independent
    shares = {composition_name(composition, classes): target_shares.get(composition, 0.0) for composition in every}
    statistics = DistributionStatistics(target=TargetDistribution({name: shares}), seed=seed)
    where = torch.tensor([every.index(tuple(row)) for row in counts.tolist()])
    prompts = torch.tensor([folder.images[place].prompt for place in places])
    found = statistics.measure(prompts, {name: torch.nn.functional.one_hot(where, len(every)).float()})
    block = found.attributes[name]
    return CompositionFigures(frequencies=block.frequencies, target=block.target, tv=block.tv, images=len(places))
