from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multinomial

from fairlit.functional.statistics.outcomes import log_probability, outcomes


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 6), st.integers(2, 4))
def test_outcomes_are_all_of_them_once(n: int, classes: int) -> None:
    expected = [row for row in itertools.product(range(n + 1), repeat=classes) if sum(row) == n]
    assert sorted(map(tuple, outcomes(n, classes).tolist())) == expected


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 200), st.lists(st.integers(0, 5), min_size=2, max_size=4).filter(any), st.data())
def test_probabilities_are_those_of_the_multinomial_distribution(
    n: int, weights: list[int], data: st.DataObject
) -> None:
    shares = np.array(weights) / sum(weights)
    cuts = sorted(data.draw(st.lists(st.integers(0, n), min_size=len(shares) - 1, max_size=len(shares) - 1)))
    counts = np.diff([0, *cuts, n])
    np.testing.assert_allclose(np.exp(log_probability(counts, shares)), multinomial.pmf(counts, n, shares), atol=1e-12)


def test_counts_and_shares_broadcast() -> None:
    counts, shares = outcomes(4, 2), np.array([[[0.5, 0.5]], [[0.25, 0.75]], [[1.0, 0.0]]])
    together = log_probability(counts, shares)
    assert together.shape == (3, 5)
    assert np.array_equal(together, np.stack([log_probability(counts, row[0]) for row in shares]))
