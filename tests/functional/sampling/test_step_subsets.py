from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fairlit.errors import ConfigurationError
from fairlit.functional.sampling.step_subsets import stratified_evaluations, subset_size


@pytest.mark.parametrize(
    ("evaluations", "fraction", "size"), [(21, 1.0, 21), (21, 0.5, 10), (20, 0.25, 5), (4, 0.01, 1), (7, 0.5, 4)]
)
def test_subset_size(evaluations: int, fraction: float, size: int) -> None:
    assert subset_size(evaluations, fraction) == size


def test_all_calls_are_taken_in_order() -> None:
    assert stratified_evaluations(3, 3, 2, seed=(0,)).tolist() == [[0, 1, 2], [0, 1, 2]]


@given(evaluations=st.integers(1, 60), data=st.data())
def test_every_stretch_has_its_evaluation(evaluations: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, evaluations))
    drawn = stratified_evaluations(evaluations, size, 5, seed=(0, data.draw(st.integers(0, 1000))))
    assert drawn.shape == (5, size)
    width = evaluations / size
    for place in range(size):
        # An evaluation may reach over the end of a stretch, but it must touch it.
        assert bool((drawn[:, place] + 1 > place * width).all())
        assert bool((drawn[:, place] < (place + 1) * width).all())


@pytest.mark.parametrize(("evaluations", "size"), [(21, 5), (10, 3), (4, 1), (9, 8)])
def test_every_evaluation_is_drawn_equally_often(evaluations: int, size: int) -> None:
    images = 40_000
    counts = (
        torch.bincount(stratified_evaluations(evaluations, size, images, seed=(1, 2)).flatten(), minlength=evaluations)
        / images
    )
    # A count is 0 or 1 from each of at most two stretches: its variance is at most 1/4 in each.
    deviation = (2 * 0.25 / images) ** 0.5
    assert float((counts - size / evaluations).abs().max()) < 5 * deviation


def test_images_and_seeds_differ() -> None:
    drawn = stratified_evaluations(20, 5, 8, seed=(3,))
    assert len({tuple(row) for row in drawn.tolist()}) > 1
    assert torch.equal(drawn, stratified_evaluations(20, 5, 8, seed=(3,)))
    assert not torch.equal(drawn, stratified_evaluations(20, 5, 8, seed=(4,)))


@pytest.mark.parametrize("size", [0, 6])
def test_size_out_of_range(size: int) -> None:
    with pytest.raises(ConfigurationError, match=f"got {size} of 5 evaluations"):
        stratified_evaluations(5, size, 1, seed=(0,))
