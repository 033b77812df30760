from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlit.errors import ConfigurationError
from fairlit.functional.statistics.distance_parts import distance_parts
from fairlit.functional.statistics.fairness import noise_floor_tv, total_variation


@st.composite
def four_shares(draw: st.DrawFn) -> list[np.ndarray]:
    size = draw(st.integers(2, 5))
    weights = st.lists(st.integers(0, 20), min_size=size, max_size=size).filter(any)
    return [np.array(draw(weights)) / 1.0 for _ in range(4)]


@settings(deadline=None, max_examples=60)
@given(four_shares(), st.integers(1, 200))
def test_parts_add_up_to_the_distance(drawn: list[np.ndarray], faces: int) -> None:
    target, judged, other, fewer = (weights / weights.sum() for weights in drawn)
    parts = distance_parts(target, judged, other, faces=faces, at_training_steps=fewer)
    assert parts.distance == pytest.approx(total_variation(judged, target))
    assert parts.chance == pytest.approx(noise_floor_tv(target, faces))
    assert parts.chance + parts.classifiers + parts.solver_steps + parts.model == pytest.approx(parts.distance)


def test_each_part_by_hand() -> None:
    """The judge sees 3 points more women than the other classifier, 12 steps one point fewer than 5."""
    parts = distance_parts([0.5, 0.5], [0.60, 0.40], [0.57, 0.43], faces=100, at_training_steps=[0.58, 0.42])
    assert parts.classifiers == pytest.approx(0.03)
    assert parts.solver_steps == pytest.approx(-0.01)
    assert parts.model == pytest.approx(0.08 - noise_floor_tv([0.5, 0.5], 100))
    other_way = distance_parts([0.5, 0.5], [0.45, 0.55], [0.42, 0.58], faces=100)
    assert other_way.classifiers == pytest.approx(-0.03)  # what the judge sees is nearer the target
    assert other_way.solver_steps == 0


def test_on_target_nothing_but_chance_is_left() -> None:
    parts = distance_parts([0.75, 0.25], [0.75, 0.25], [0.7, 0.3], faces=40)
    assert parts.distance == parts.classifiers == 0
    assert parts.model == -parts.chance


@pytest.mark.parametrize("wrong", [[0.5, 0.6], [-0.1, 1.1]])
def test_what_are_no_shares_is_refused(wrong: list[float]) -> None:
    with pytest.raises(ConfigurationError, match="other"):
        distance_parts([0.5, 0.5], [0.5, 0.5], wrong, faces=10)
