"""Exact shares: against their definition, for any shares and size."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlit.functional.alignment.apportionment import apportion


@settings(deadline=None)
@given(weights=st.lists(st.integers(0, 20), min_size=2, max_size=8).filter(sum), count=st.integers(0, 60))
def test_every_run_of_classes_gets_its_share_up_to_one(weights: list[int], count: int) -> None:
    shares = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    labels = apportion(shares, count, (7, count))
    numbers = labels.bincount(minlength=len(weights))
    assert numbers.sum() == count
    for first in range(len(weights)):
        for last in range(first + 1, len(weights) + 1):
            exact, remainder = divmod(sum(weights[first:last]) * count, sum(weights))
            assert exact <= numbers[first:last].sum() <= exact + math.ceil(remainder / sum(weights))


def test_remainders_are_dealt_fairly_over_keys() -> None:
    """Three places for shares of 0.5 and 0.5: the odd one goes to either class equally often, any place to both."""
    labels = torch.stack([apportion(torch.tensor([0.5, 0.5]), 3, (key,)) for key in range(400)]).double()
    assert (labels.sum(1).mean() - 1.5).abs() < 0.1  # four standard errors
    assert (labels.mean(0) - 0.5).abs().max() < 0.1


def test_the_key_alone_decides() -> None:
    shares = torch.tensor([0.3, 0.7])
    assert torch.equal(apportion(shares, 50, (1, 2)), apportion(shares, 50, (1, 2)))
    assert not torch.equal(apportion(shares, 50, (1, 2)), apportion(shares, 50, (1, 3)))
