"""The fewest changes that bring a set to its target, against every possible plan."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fairlit.errors import ConfigurationError
from fairlit.functional.alignment.fewest_changes import fewest_changes, fewest_changes_of_groups, whole_counts


def nearest(shares: list[float], count: int) -> set[tuple[int, ...]]:
    """All whole numbers whose distance to the shares is least, by trying every one."""
    rows = [row for row in itertools.product(range(count + 1), repeat=len(shares)) if sum(row) == count]
    distances = [sum(abs(n - share * count) for n, share in zip(row, shares, strict=True)) for row in rows]
    return {row for row, far in zip(rows, distances, strict=True) if far < min(distances) + 1e-7}


@st.composite
def sets(draw: st.DrawFn) -> tuple[list[float], torch.Tensor, torch.Tensor]:
    weights = draw(st.lists(st.integers(0, 6), min_size=2, max_size=4).filter(any))
    shares = [weight / sum(weights) for weight in weights]
    cells = torch.tensor(draw(st.lists(st.integers(0, len(weights) - 1), max_size=6)), dtype=torch.long)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    return shares, cells, torch.rand(len(cells), len(shares), generator=generator)


@given(sets())
def test_whole_counts_are_the_nearest(example: tuple[list[float], torch.Tensor, torch.Tensor]) -> None:
    shares, cells, _ = example
    least, most = whole_counts(shares, len(cells))
    between = itertools.product(*(range(low, high + 1) for low, high in zip(least, most, strict=True)))
    assert {row for row in between if sum(row) == len(cells)} == nearest(shares, len(cells))


@given(sets())
def test_no_plan_changes_fewer_faces_or_dearer_ones(example: tuple[list[float], torch.Tensor, torch.Tensor]) -> None:
    shares, cells, costs = example
    wanted = nearest(shares, len(cells))
    plans = [
        plan
        for plan in itertools.product(range(len(shares)), repeat=len(cells))
        if tuple(plan.count(k) for k in range(len(shares))) in wanted
    ]

    def price(plan: tuple[int, ...]) -> tuple[int, float]:
        changed = [face for face, k in enumerate(plan) if k != cells[face]]
        return len(changed), sum(float(costs[face, plan[face]]) for face in changed)

    best = min(map(price, plans))
    found = fewest_changes(cells, shares, costs)
    assert found.count == best[0]
    assert price(tuple(found.target_labels.tolist())) == pytest.approx(best)


def test_a_set_that_is_right_is_left_alone() -> None:
    cells = torch.tensor([1, 0, 0, 1, 1])  # of five, both 2 and 3 are nearest to a half
    assert fewest_changes(cells, [0.5, 0.5], torch.rand(5, 2)).count == 0


def test_fixed_faces_stay_and_others_change_in_their_place() -> None:
    cells, costs = torch.zeros(4, dtype=torch.long), torch.tensor([[0.0, 0.1], [0.0, 0.2], [0.0, 0.9], [0.0, 0.3]])
    assert fewest_changes(cells, [0.5, 0.5], costs).target_labels.tolist() == [1, 1, 0, 0]
    fixed = torch.tensor([True, False, False, False])
    assert fewest_changes(cells, [0.5, 0.5], costs, fixed=fixed).target_labels.tolist() == [0, 1, 0, 1]
    out_of_reach = torch.tensor([True, True, True, False])
    assert fewest_changes(cells, [0.5, 0.5], costs, fixed=out_of_reach).target_labels.tolist() == [0, 0, 0, 1]


def test_no_faces() -> None:
    found = fewest_changes(torch.zeros(0, dtype=torch.long), [0.5, 0.5], torch.zeros(0, 2))
    assert (found.target_labels.tolist(), found.count) == ([], 0)


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 1000), st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_no_plan_of_groups_changes_fewer_faces(images: int, people: int, seed: int, weights: list[int]) -> None:
    every = [(people - second, second) for second in range(people + 1)]
    weights = [*weights[:people], weights[people] + 1]
    target = {group: weight / sum(weights) for group, weight in zip(every, weights, strict=True)}
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randint(2, (images * people,), generator=generator)
    costs = torch.rand(images * people, 2, generator=generator)
    index = torch.arange(images).repeat_interleave(people)
    found = fewest_changes_of_groups(index, cells, target, costs=costs)
    second = found.target_labels.view(images, people).sum(dim=1).tolist()
    counts = tuple(second.count(number) for number in range(people + 1))
    assert counts in nearest(list(target.values()), images)
    have = cells.view(images, people).sum(dim=1).tolist()
    fewest = min(
        sum(abs(one - other) for one, other in zip(have, order, strict=True))
        for order in itertools.product(range(people + 1), repeat=images)
        if tuple(order.count(number) for number in range(people + 1)) in nearest(list(target.values()), images)
    )
    assert found.count == fewest


def test_an_image_that_cannot_get_its_composition_is_left_alone() -> None:
    index, cells = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 0, 0])
    fixed = torch.tensor([True, False, False, False])
    found = fewest_changes_of_groups(index, cells, {(0, 2): 1.0}, costs=torch.ones(4, 2), fixed=fixed)
    assert found.target_labels.tolist() == [0, 0, 1, 1]


def test_groups_of_another_size_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="2 faces"):
        fewest_changes_of_groups(torch.tensor([0, 0, 1]), torch.zeros(3).long(), {(1, 1): 1.0}, costs=torch.zeros(3, 2))
    nobody = fewest_changes_of_groups(
        torch.zeros(0).long(), torch.zeros(0).long(), {(1, 1): 1.0}, costs=torch.zeros(0, 2)
    )
    assert nobody.count == 0


def test_shares_that_are_no_distribution() -> None:
    with pytest.raises(ConfigurationError, match="shares"):
        whole_counts([0.5, 0.6], 4)
