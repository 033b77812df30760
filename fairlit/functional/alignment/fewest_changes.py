"""Which faces of finished images to change, so that as few as possible are changed and the set meets its target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from fairlit.errors import ConfigurationError
from fairlit.functional.statistics.composition import Composition
from fairlit.functional.statistics.fairness import Shares, check_distribution

_ROUNDING = 1e-9  # remainders that differ by less are equal


@dataclass(frozen=True)
class Changes:
    """What N faces are to show.

    Attributes:
        target_labels: int64 [N], class of each face, or its joint class; most keep their own.
        changed: bool [N], those that do not.
    """

    target_labels: Tensor
    changed: Tensor

    @property
    def count(self) -> int:
        """How many faces change."""
        return int(self.changed.sum())


def whole_counts(shares: Shares, count: int) -> tuple[Tensor, Tensor]:
    """The whole numbers of each class that are nearest to their shares of `count`.

    Hamilton's method of largest remainders, which no other whole numbers beat in distance to the shares. Where
    remainders are equal, several distributions are equally near: they lie between the two results.

    Args:
        shares: of the K classes, summing to 1.
        count: number of faces, 0 or more.

    Returns:
        Least and most of each class, int64 [K] each; a class has one more than its least at most.

    Example:
        >>> [numbers.tolist() for numbers in whole_counts([0.5, 0.5], 5)]
        [[2, 2], [3, 3]]
        >>> [numbers.tolist() for numbers in whole_counts([0.2, 0.8], 6)]
        [[1, 5], [1, 5]]
    """
    exact = torch.as_tensor(check_distribution(shares, "shares"), dtype=torch.float64) * count
    least = (exact + _ROUNDING).floor()
    remainders = (exact - least).clamp(min=0)
    left = count - int(least.sum())
    if left == 0:
        return least.long(), least.long()
    last = remainders.sort(descending=True).values[left - 1]  # the smallest remainder that may still be rounded up
    sure, tied = remainders > last + _ROUNDING, (remainders - last).abs() <= _ROUNDING
    least = least + sure
    every_tie = int(tied.sum()) == left - int(sure.sum())
    return (least + tied * every_tie).long(), (least + tied).long()


def fewest_changes(labels: Tensor, shares: Shares, costs: Tensor, *, fixed: Tensor | None = None) -> Changes:
    """The fewest faces to change such that the classes come to whole numbers nearest to the target.

    Optimal transport between the faces and the places of each class. Keeping a face as it is costs nothing, changing
    it costs 1 and a little more for a dear change: all these extras together are less than 1, so they decide between
    plans of equally many changes alone.

    Args:
        labels: int64 [N], the class each face has now.
        shares: of the K classes, summing to 1.
        costs: [N, K], at least 0, how dear it is to change a face into a class, such as
            `transport.assignment_costs`.
        fixed: bool [N], faces that cannot be changed; then the target may be out of reach, and what comes nearest is
            target_labels.

    Returns:
        What each face is to show.

    Example:
        >>> labels, costs = torch.tensor([0, 0, 0, 1]), torch.tensor([[0, 0.9], [0, 0.4], [0, 0.9], [0.9, 0]])
        >>> fewest_changes(labels, [0.5, 0.5], costs).target_labels.tolist()
        [0, 1, 0, 1]
    """
    faces = len(labels)
    if faces == 0:
        return Changes(labels.cpu(), torch.zeros(0, dtype=torch.bool))
    least, most = whole_counts(shares, faces)
    return _changes(_cheapest_classes(_prices(labels, costs, fixed), least.numpy(), most.numpy()), labels, fixed)


def fewest_changes_of_groups(
    image_index: Tensor,
    labels: Tensor,
    compositions: Mapping[Composition, float],
    *,
    costs: Tensor,
    fixed: Tensor | None = None,
) -> Changes:
    """The fewest faces to change such that the compositions of images come to whole numbers nearest to the target.

    Optimal transport twice: in each image between its faces and each composition, which says what it costs to give the
    image that composition; and between the images and the places of each composition.

    Args:
        image_index: int64 [N], the image each face lies in; every image has as many faces as the compositions people.
        labels: as for `fewest_changes`.
        compositions: how many people of each class -> share of the images; the shares sum to 1.
        costs: as for `fewest_changes`.
        fixed: as for `fewest_changes`.

    Returns:
        What each face is to show.

    Raises:
        ConfigurationError: an image has more or fewer faces than the compositions.

    Example:
        >>> index, labels = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 0, 1])
        >>> costs = torch.tensor([[0, 0.9], [0, 0.4], [0, 0.9], [0.9, 0]])
        >>> fewest_changes_of_groups(index, labels, {(1, 1): 1.0}, costs=costs).target_labels.tolist()
        [0, 1, 0, 1]
    """
    images = image_index.cpu().unique()
    every = [composition for composition, share in compositions.items() if share > 0]
    people = sum(every[0])
    if any(int(count) != people for count in image_index.cpu().unique(return_counts=True)[1]):
        raise ConfigurationError(f"image_index: an image has not {people} faces; give those with as many faces alone")
    target_labels = labels.cpu().clone()
    if len(images) == 0:
        return Changes(target_labels, torch.zeros(0, dtype=torch.bool))
    prices = _prices(labels, costs, fixed)
    plans = np.empty((len(images), len(every), people), dtype=np.int64)
    totals = np.empty((len(images), len(every)))
    for row, image in enumerate(images):
        own = prices[(image_index.cpu() == image).numpy()]
        for column, composition in enumerate(every):
            plans[row, column] = _cheapest_classes(own, np.array(composition), np.array(composition))
            totals[row, column] = own[np.arange(people), plans[row, column]].sum()
    shares = [*(compositions[composition] for composition in every), 0.0]  # one alone would be no distribution
    least, most = (counts[:-1].numpy() for counts in whole_counts(shares, len(images)))
    chosen = _cheapest_classes(totals, least, most)
    for row, image in enumerate(images):
        here = image_index.cpu() == image
        plan = torch.from_numpy(plans[row, chosen[row]])
        if fixed is None or not bool((fixed.cpu()[here] & (plan != target_labels[here])).any()):
            target_labels[here] = plan  # else out of reach: to change the other faces alone would be for nothing
    return _changes(target_labels.numpy(), labels, fixed)


def _prices(labels: Tensor, costs: Tensor, fixed: Tensor | None) -> np.ndarray:
    """What it costs to make a face a class, [N, K]: nothing for its own, else 1 and its part of less than another 1."""
    dear = costs.detach().cpu().double()
    change = 1 + dear / (dear.max().clamp(min=1) * (len(labels) + 1))
    if fixed is not None:
        change = torch.where(fixed.cpu()[:, None], 2.0 * (len(labels) + 1), change)
    own = torch.nn.functional.one_hot(labels.cpu(), costs.shape[1]).bool()
    return torch.where(own, 0.0, change).numpy()


def _changes(plan: np.ndarray, labels: Tensor, fixed: Tensor | None) -> Changes:
    target_labels = torch.from_numpy(plan)
    if fixed is not None:
        target_labels = torch.where(fixed.cpu(), labels.cpu(), target_labels)
    return Changes(target_labels, target_labels != labels.cpu())


def _cheapest_classes(costs: np.ndarray, least: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Return the class of each face, [N], in the cheapest plan that gives each class `least` to `most` of N faces.

    One column per place: first those that must be filled, then those that may be. One more row per place that stays
    empty takes it, at no cost where it may stay empty.
    """
    faces, classes = costs.shape
    must, may = (np.repeat(np.arange(classes), counts) for counts in (least, most - least))
    labels = np.concatenate([must, may])
    never = 1.0 + faces * float(costs.max())
    empty = np.concatenate([np.full(len(must), never), np.zeros(len(may))])
    table = np.concatenate([costs[:, labels], np.tile(empty, (len(labels) - faces, 1))])
    return labels[linear_sum_assignment(table)[1][:faces]]
