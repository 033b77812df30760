"""Compositions against counting by hand and enumerating people one by one."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fairlit.errors import Problems
from fairlit.functional.statistics.composition import (
    check_compositions,
    composition_distance,
    composition_shares,
    compositions_of,
    image_compositions,
    independent_compositions,
    people_found,
)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=12))
def test_people_are_counted_image_by_image(faces: list[tuple[int, int]]) -> None:
    index, cells = (torch.tensor([face[part] for face in faces]).long() for part in (0, 1))
    found = image_compositions(index, cells, images=4, classes=3)
    for image, label in itertools.product(range(4), range(3)):
        assert int(found[image, label]) == faces.count((image, label))


@given(st.integers(1, 4), st.lists(st.integers(1, 9), min_size=2, max_size=3))
def test_independent_people_by_enumeration(people: int, weights: list[int]) -> None:
    shares = [weight / sum(weights) for weight in weights]
    expected: Counter[tuple[int, ...]] = Counter()
    for drawn in itertools.product(range(len(shares)), repeat=people):
        expected[tuple(drawn.count(label) for label in range(len(shares)))] += math.prod(shares[i] for i in drawn)  # type: ignore[assignment]
    found = independent_compositions(shares, people)
    assert list(found) == compositions_of(people, len(shares))
    assert found == pytest.approx(dict(expected))


def test_shares_and_distance_by_hand() -> None:
    counts = torch.tensor([[3, 0], [2, 1], [2, 1], [0, 3], [1, 1], [0, 0]])
    found, images = composition_shares(counts, 3)
    assert images == 4
    assert found == {(3, 0): 0.25, (2, 1): 0.5, (1, 2): 0.0, (0, 3): 0.25}
    mixed = {(2, 1): 0.5, (1, 2): 0.5}  # every team of three is mixed
    assert composition_distance(found, mixed) == pytest.approx(0.5)
    # Independent: 1/8, 3/8, 3/8, 1/8.
    independent = independent_compositions([0.5, 0.5], 3)
    assert composition_distance(found, independent) == pytest.approx((1 / 8 + 1 / 8 + 3 / 8 + 1 / 8) / 2)
    assert composition_shares(counts, 4)[1] == 0


def test_asked_and_found() -> None:
    assert people_found([3, 2, 2, 1, 3], [2, 2, 0, 1, 2]) == {1: {1: 1}, 2: {0: 1, 2: 1}, 3: {2: 2}}


def test_targets_that_cannot_be() -> None:
    problems = Problems("x")
    check_compositions({(1, 1): 0.5, (2, 0): 0.5}, 2, 2, problems=problems)
    assert problems.messages == []
    check_compositions({(1, 1, 1): 0.5, (3, -1): 1.2}, 2, 2, problems=problems)
    assert len(problems.messages) == 4
    assert "sum to 1.7; make it 1" in problems.messages[-1]
