"""Who is in a picture of several people: how many of each class, image by image.

A marginal target ("half of all people are women") says nothing about single pictures: teams of women and teams of men
in equal numbers meet it, as mixed teams do. The distribution of the images over *compositions*, the numbers of people
of each class, tells them apart. The faces of one image are drawn by one model call from one noise and are not
independent, so what is resampled for intervals are images or prompts, never faces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fairlit.errors import Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.statistics.fairness import Shares, check_distribution
from fairlit.functional.statistics.outcomes import log_probability, outcomes

Composition = tuple[int, ...]
"""How many people of each class."""


def image_compositions(image_index: Tensor, labels: Tensor, *, images: int, classes: int) -> Tensor:
    """Counts the people of each class in each image.

    Args:
        image_index: int64 [F], the image each face lies in.
        labels: int64 [F], class of each face, or its joint class.
        images: number N of images.
        classes: number K of classes.

    Returns:
        int64 [N, K].

    Example:
        >>> image_compositions(torch.tensor([0, 0, 2]), torch.tensor([1, 1, 0]), images=3, classes=2).tolist()
        [[0, 2], [0, 0], [1, 0]]
    """
    flat = torch.bincount(image_index * classes + labels, minlength=images * classes)
    return flat.view(images, classes)


def compositions_of(people: int, classes: int) -> list[Composition]:
    """Every composition of so many people, the first class's largest count first.

    Example:
        >>> compositions_of(2, 2)
        [(2, 0), (1, 1), (0, 2)]
    """
    return sorted((tuple(int(count) for count in row) for row in outcomes(people, classes)), reverse=True)


def independent_compositions(shares: Shares, people: int) -> dict[Composition, float]:
    """How often each composition of `people` comes about where every person's class is drawn by itself.

    Args:
        shares: of the K classes, summing to 1.
        people: in an image.

    Returns:
        Composition -> multinomial probability.

    Raises:
        ConfigurationError: shares are no distribution.

    Example:
        >>> independent_compositions([0.5, 0.5], 2)
        {(2, 0): 0.25, (1, 1): 0.5, (0, 2): 0.25}
    """
    checked = check_distribution(shares, "shares")
    every = compositions_of(people, len(checked))
    return dict(zip(every, np.exp(log_probability(np.array(every), checked)).round(15).tolist(), strict=True))


def check_compositions(target: Mapping[Composition, float], people: int, classes: int, *, problems: Problems) -> None:
    """Notes what is wrong with a target distribution over the compositions of `people`."""
    for composition, share in target.items():
        if len(composition) != classes or sum(composition) != people or min(composition, default=0) < 0:
            problems.add(
                f"compositions: {list(composition)} of {people} people; give {classes} numbers that sum to {people}"
            )
        if not 0 <= share <= 1:
            problems.add(f"compositions: {list(composition)} has share {share}; give one between 0 and 1")
    if abs(sum(target.values()) - 1) > 1e-6:
        problems.add(f"compositions: shares for {people} people sum to {sum(target.values()):g}; make it 1")


def composition_shares(counts: Tensor, people: int) -> tuple[dict[Composition, float], int]:
    """How often each composition occurs among the images that show so many people.

    Args:
        counts: int64 [N, K], see `image_compositions`.
        people: images with more or fewer faces are left out.

    Returns:
        Composition -> share (all zero without such an image), and the number of such images.

    Example:
        >>> composition_shares(torch.tensor([[2, 0], [1, 1], [1, 1], [1, 0]]), 2)[1]
        3
    """
    here = [tuple(row) for row in counts[counts.sum(dim=1) == people].tolist()]
    every = compositions_of(people, counts.shape[1])
    return {composition: here.count(composition) / max(len(here), 1) for composition in every}, len(here)


def composition_distance(found: Mapping[Composition, float], target: Mapping[Composition, float]) -> float:
    """Total variation: the share of images whose composition would have to change.

    Example:
        >>> composition_distance({(2, 0): 0.5, (0, 2): 0.5}, independent_compositions([0.5, 0.5], 2))
        0.5
    """
    return sum(abs(found.get(key, 0.0) - target.get(key, 0.0)) for key in found.keys() | target.keys()) / 2


def people_found(asked: Sequence[int], found: Sequence[int]) -> dict[int, dict[int, int]]:
    """How many faces were found in images that ask for so many people.

    Args:
        asked: of N images.
        found: of the same images.

    Returns:
        Number asked for -> number found -> images, both in ascending order.

    Example:
        >>> people_found([2, 2, 3], [2, 1, 3])
        {2: {1: 1, 2: 1}, 3: {3: 1}}
    """
    table: dict[int, dict[int, int]] = {}
    for one, other in sorted(zip(asked, found, strict=True)):
        table.setdefault(one, {}).setdefault(other, 0)
        table[one][other] += 1
    return table


def read_compositions(
    content: Any, target: TargetDistribution, problems: Problems
) -> dict[str, dict[int, dict[Composition, float]]]:
    """Composition targets out of plain data: attribute -> people -> "1 female, 1 male" -> share.

    Args:
        content: as YAML gives it.
        target: has the attributes and classes.
        problems: where messages go.
    """
    found: dict[str, dict[int, dict[Composition, float]]] = {}
    for attribute, by_number in (content or {}).items():
        if attribute not in target.classes or not isinstance(by_number, dict):
            known = ", ".join(target.attributes)
            problems.add(
                f"compositions: {attribute!r}; give an attribute of the target ({known}), then a number of people"
            )
            continue
        classes = target.classes[attribute]
        for people, shares in by_number.items():
            try:
                read = {_composition(text, classes): float(share) for text, share in shares.items()}
                number = int(people)
            except (ValueError, TypeError, AttributeError):
                example = composition_name((1, *[0] * (len(classes) - 2), 1), classes)
                problems.add(f"compositions: {attribute} of {people} people is {shares!r}; write {{'{example}': 1.0}}")
                continue
            check_compositions(read, number, len(classes), problems=problems)
            found.setdefault(attribute, {})[number] = read
    return found


def _composition(text: str, classes: Sequence[str]) -> Composition:
    counts = dict.fromkeys(classes, 0)
    for part in text.split(","):
        number, name = part.split(maxsplit=1)
        if name.strip() not in counts:
            raise ValueError(text)
        counts[name.strip()] += int(number)
    return tuple(counts.values())


def composition_name(composition: Composition, classes: Sequence[str]) -> str:
    """A composition in words.

    Example:
        >>> composition_name((2, 1), ("female", "male"))
        '2 female, 1 male'
    """
    return ", ".join(f"{count} {name}" for count, name in zip(composition, classes, strict=True) if count)
