from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, multinomial

from fairlit.errors import ConfigurationError
from fairlit.functional.statistics.equivalence import equivalence_test, total_variation_bound
from fairlit.functional.statistics.outcomes import outcomes

counted = st.lists(st.integers(0, 25), min_size=2, max_size=5).filter(any)


def subsets(classes: int) -> list[list[int]]:
    return [list(chosen) for size in range(1, classes + 1) for chosen in itertools.combinations(range(classes), size)]


def target_of(weights: list[int]) -> np.ndarray:
    return np.array(weights) / sum(weights)


@settings(max_examples=15, deadline=None)
@given(counted, st.data())
def test_bound_is_the_largest_over_all_sets_of_classes(counts: list[int], data: st.DataObject) -> None:
    """Against every set on its own, with scipy's one-sided exact interval."""
    target = target_of(data.draw(st.lists(st.integers(1, 5), min_size=len(counts), max_size=len(counts))))
    n = sum(counts)
    expected = max(
        binomtest(sum(counts[i] for i in chosen), n, alternative="less").proportion_ci(0.95).high - target[chosen].sum()
        for chosen in subsets(len(counts))
    )
    bound = float(total_variation_bound(torch.tensor(counts), target))
    assert bound == pytest.approx(expected, abs=1e-9)
    assert np.abs(np.array(counts) / n - target).sum() / 2 <= bound <= 1  # never below what was seen


@settings(max_examples=15, deadline=None)
@given(counted, st.data(), st.sampled_from([0.05, 0.1, 0.25, 0.6]))
def test_test_is_the_largest_p_value_over_all_sets(counts: list[int], data: st.DataObject, margin: float) -> None:
    target = target_of(data.draw(st.lists(st.integers(1, 5), min_size=len(counts), max_size=len(counts))))
    p_values = [
        binom.cdf(sum(counts[i] for i in chosen), sum(counts), target[chosen].sum() + margin)
        for chosen in subsets(len(counts))
        if target[chosen].sum() + margin <= 1
    ]
    expected = max(p_values, default=0.0)  # no set can be that far from its share
    assert float(equivalence_test(torch.tensor(counts), target, margin)) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(counted, st.data(), st.sampled_from([0.07, 0.13, 0.29]))
def test_test_and_bound_say_the_same(counts: list[int], data: st.DataObject, margin: float) -> None:
    target = target_of(data.draw(st.lists(st.integers(1, 5), min_size=len(counts), max_size=len(counts))))
    within = float(total_variation_bound(torch.tensor(counts), target)) < margin
    assert within == (float(equivalence_test(torch.tensor(counts), target, margin)) < 0.05)


def test_two_classes_are_two_one_sided_tests() -> None:
    bound = float(total_variation_bound(torch.tensor([27, 33]), [0.5, 0.5]))
    low, high = binomtest(33, 60).proportion_ci(0.90, method="exact")  # each tail 5 %
    assert bound == pytest.approx(max(high - 0.5, 0.5 - low))


@pytest.mark.parametrize("shares", [[0.5, 0.3, 0.2], [0.4, 0.3, 0.3], [0.34, 0.33, 0.33], [0.9, 0.05, 0.05]])
def test_bound_holds_in_95_percent_of_cases_at_least(shares: list[float]) -> None:
    """Coverage by enumeration: no draws, no tolerance."""
    rows, target = outcomes(25, 3), [0.34, 0.33, 0.33]
    true = np.abs(np.array(shares) - target).sum() / 2
    held = total_variation_bound(torch.from_numpy(rows), target).numpy() >= true - 1e-12
    assert (multinomial.pmf(rows, 25, shares) * held).sum() >= 0.95


def test_more_images_come_closer() -> None:
    bounds = total_variation_bound(torch.tensor([[6, 6, 6, 6], [60, 60, 60, 60], [600, 600, 600, 600]]), [0.25] * 4)
    assert bool((bounds.diff() < 0).all())
    assert float(bounds[-1]) < 0.02


def test_sixteen_classes_need_no_65536_sets() -> None:
    counts = torch.from_numpy(np.random.default_rng(0).multinomial(60, [1 / 16] * 16))
    bound = float(total_variation_bound(counts, [1 / 16] * 16))
    most = sorted(counts.tolist(), reverse=True)
    expected = max(
        binomtest(sum(most[:k]), 60, alternative="less").proportion_ci(0.95).high - k / 16 for k in range(1, 17)
    )
    assert bound == pytest.approx(expected)  # equal shares: the best k classes are those counted most


def test_no_image_says_nothing() -> None:
    counts = torch.tensor([[0, 0], [3, 3]])
    assert total_variation_bound(counts, [0.5, 0.5]).isnan().tolist() == [True, False]
    assert equivalence_test(counts, [0.5, 0.5], 0.2).isnan().tolist() == [True, False]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: total_variation_bound(torch.tensor([1, 2]), [0.2, 0.3, 0.5]), "2 classes and target_shares 3"),
        (lambda: total_variation_bound(torch.tensor([1, 2]), [0.5, 0.5], level=0.0), "level is 0.0"),
        (lambda: equivalence_test(torch.tensor([1, 2]), [0.5, 0.5], 0.0), "margin is 0.0"),
    ],
)
def test_bad_input_is_refused(call, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        call()
