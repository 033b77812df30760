from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fairlit.errors import ConfigurationError
from fairlit.functional.sampling.step_subsets import stratified_calls, subset_size


@pytest.mark.parametrize(
    ("calls", "fraction", "size"), [(21, 1.0, 21), (21, 0.5, 10), (20, 0.25, 5), (4, 0.01, 1), (7, 0.5, 4)]
)
def test_subset_size(calls: int, fraction: float, size: int) -> None:
    assert subset_size(calls, fraction) == size


def test_all_calls_are_taken_in_order() -> None:
    assert stratified_calls(3, 3, 2, (0,)).tolist() == [[0, 1, 2], [0, 1, 2]]


@given(calls=st.integers(1, 60), data=st.data())
def test_every_stretch_has_its_call(calls: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, calls))
    drawn = stratified_calls(calls, size, 5, (0, data.draw(st.integers(0, 1000))))
    assert drawn.shape == (5, size)
    width = calls / size
    for place in range(size):
        # A call may reach over the end of a stretch, but it must touch it.
        assert bool((drawn[:, place] + 1 > place * width).all())
        assert bool((drawn[:, place] < (place + 1) * width).all())


@pytest.mark.parametrize(("calls", "size"), [(21, 5), (10, 3), (4, 1), (9, 8)])
def test_every_call_is_drawn_equally_often(calls: int, size: int) -> None:
    images = 40_000
    counts = torch.bincount(stratified_calls(calls, size, images, (1, 2)).flatten(), minlength=calls) / images
    # A count is 0 or 1 from each of at most two stretches: its variance is at most 1/4 in each.
    deviation = (2 * 0.25 / images) ** 0.5
    assert float((counts - size / calls).abs().max()) < 5 * deviation


def test_images_and_seeds_differ() -> None:
    drawn = stratified_calls(20, 5, 8, (3,))
    assert len({tuple(row) for row in drawn.tolist()}) > 1
    assert torch.equal(drawn, stratified_calls(20, 5, 8, (3,)))
    assert not torch.equal(drawn, stratified_calls(20, 5, 8, (4,)))


@pytest.mark.parametrize("size", [0, 6])
def test_size_out_of_range(size: int) -> None:
    with pytest.raises(ConfigurationError, match=f"got {size} of 5 calls"):
        stratified_calls(5, size, 1, (0,))
