"""Pictures of several people: how many were found, and which compositions the images have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
from fairlit.metrics import AttributeDistribution

CompositionTargets = Mapping[int, Mapping[Composition, float]]
"""Number of people -> composition -> share, for one attribute."""


def measure_groups(
    folder: ImageFolder,
    seen: Sequence[Seen],
    target: TargetDistribution,
    compositions: Mapping[str, CompositionTargets] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """People asked for and found, and compositions against what they should be.

    Args:
        folder: prompts and images.
        seen: what was seen in each image, all faces.
        target: classes in the order of the probabilities in `seen`.
        compositions: attribute -> targets; where there is none, people drawn independently from the target.
        seed: of the bootstrap.

    Returns:
        `found`: number asked for -> number found -> images, of the images whose prompt says a number; `exact`: the
        share of them with just as many (None without any); `per_image`: number asked for -> mean number found;
        `compositions`: number of people (from two on) -> attribute -> figures of the images in which so many were
        found, as `AttributeDistribution` gives them, with compositions such as "2 female, 1 male" for classes.
    """
    readable = [place for place, entry in enumerate(seen) if entry.damaged is None]
    numbers = torch.tensor([len(seen[place].faces) for place in readable])
    known = [
        (asked, int(n))
        for place, n in zip(readable, numbers, strict=True)
        if (asked := folder.images[place].num_people)
    ]
    table = people_found([asked for asked, _ in known], [found for _, found in known])
    sizes = sorted({int(n) for n in numbers if n >= 2})
    return {
        "found": table,
        "exact": sum(row.get(asked, 0) for asked, row in table.items()) / max(len(known), 1) if known else None,
        "per_image": {
            asked: sum(found * images for found, images in row.items()) / sum(row.values())
            for asked, row in table.items()
        },
        "compositions": {
            people: _compositions(
                folder,
                seen,
                [readable[i] for i in (numbers == people).nonzero()[:, 0].tolist()],
                target,
                compositions or {},
                people,
                seed,
            )
            for people in sizes
        },
    }


def _compositions(
    folder: ImageFolder,
    seen: Sequence[Seen],
    places: Sequence[int],
    target: TargetDistribution,
    compositions: Mapping[str, CompositionTargets],
    people: int,
    seed: int,
) -> dict[str, Any]:
    """Figures of the images at `places`, each with so many people, attribute by attribute."""
    prompts = torch.tensor([folder.images[place].prompt for place in places])
    index = torch.arange(len(places)).repeat_interleave(people)
    figures = {}
    for name, classes in target.classes.items():
        rows = [face.probabilities[name] for place in places for face in seen[place].faces]
        cells = torch.tensor(rows).argmax(dim=1)
        counts = image_compositions(index, cells, images=len(places), classes=len(classes))
        wanted = compositions.get(name, {}).get(people) or independent_compositions(target.marginal(name), people)
        every = [*independent_compositions(target.marginal(name), people)]
        names = [composition_name(composition, classes) for composition in every]
        shares = dict(zip(names, (wanted.get(composition, 0.0) for composition in every), strict=True))
        metric = AttributeDistribution(TargetDistribution({name: shares}), seed=seed)
        where = torch.tensor([every.index(tuple(row)) for row in counts.tolist()])
        metric.update(prompts, {name: torch.nn.functional.one_hot(where, len(every)).float()})
        block = metric.compute()["attributes"][name]
        figures[name] = {
            key: block[key] for key in ("frequencies", "frequencies_ci", "target", "tv", "tv_ci", "tv_noise_floor")
        } | {"images": len(places)}
    return figures
