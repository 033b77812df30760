from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multinomial

from fairlit.errors import ConfigurationError
from fairlit.functional.statistics import cross_fitting
from fairlit.functional.statistics.cross_fitting import (
    cross_fitted_biases,
    cross_fitted_total_variations,
    noise_free_bias_interval,
    noise_free_total_variation_interval,
)
from fairlit.functional.statistics.fairness import pairwise_bias, pairwise_biases, total_variation
from fairlit.functional.statistics.outcomes import outcomes

weights = st.lists(st.integers(0, 6), min_size=2, max_size=3).filter(any)


def sign(value: float) -> int:
    return int(value > 1e-12) - int(value < -1e-12)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=3).filter(lambda counts: 1 < sum(counts) < 8))
def test_one_half_gives_the_sign_and_the_other_the_size(counts: list[int]) -> None:
    """Every halving, image by image."""

    def halved(labels: list[int], share: float) -> float:
        values = []
        for chosen in itertools.combinations(range(len(labels)), len(labels) // 2):
            rest = [labels[i] for i in range(len(labels)) if i not in chosen]
            first = np.mean([labels[i] for i in chosen])
            values.append(sign(float(first) - share) * (np.mean(rest) - share))
        return float(np.mean(values))

    classes, n = len(counts), sum(counts)
    target = np.arange(1, classes + 1) / sum(range(1, classes + 1))
    distance = sum(halved([1] * c + [0] * (n - c), t) for c, t in zip(counts, target, strict=True)) / 2
    pairs = list(itertools.combinations(counts, 2))
    bias = sum(2 * (a + b) / n * halved([1] * a + [0] * b, 0.5) for a, b in pairs if a + b > 1) / len(pairs)
    assert float(cross_fitted_biases(torch.tensor(counts))) == pytest.approx(bias, abs=1e-9)
    shares = torch.from_numpy(target)
    assert float(cross_fitted_total_variations(torch.tensor(counts), shares)) == pytest.approx(distance, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(weights, st.integers(2, 9), st.data())
def test_expected_values_err_downwards_and_vanish_at_balance(integers: list[int], n: int, data: st.DataObject) -> None:
    p = np.array(integers) / sum(integers)
    target = np.array(data.draw(st.lists(st.integers(1, 5), min_size=len(p), max_size=len(p))))
    target = target / target.sum()
    rows = outcomes(n, len(p))
    counts = torch.from_numpy(rows)

    def expectation(values: torch.Tensor, shares: np.ndarray) -> float:
        return float((multinomial.pmf(rows, n, shares) * values.numpy()).sum())

    biases = cross_fitted_biases(counts)
    distances = cross_fitted_total_variations(counts, torch.from_numpy(target))
    assert expectation(biases, p) <= pairwise_bias(p) + 1e-9
    assert expectation(distances, p) <= total_variation(p, target) + 1e-9
    assert expectation(biases, np.full(len(p), 1 / len(p))) == pytest.approx(0, abs=1e-9)
    assert expectation(distances, target) == pytest.approx(0, abs=1e-9)
    assert expectation(pairwise_biases(counts / n), p) >= pairwise_bias(p) - 1e-9  # the other side


def test_interval_leaves_out_the_noise_floor() -> None:
    """A balanced generator: the published figure is near 0.10, the interval reaches down to 0."""
    counts = torch.from_numpy(np.random.default_rng(0).multinomial(60, [0.5, 0.5], size=50))
    low, high = noise_free_bias_interval(counts)
    assert low < 0.01
    assert 0.1 < high < 0.14


def test_clear_bias_is_enclosed_closely() -> None:
    counts = torch.from_numpy(np.random.default_rng(1).multinomial(200, [0.9, 0.1], size=50))
    low, high = noise_free_bias_interval(counts)
    assert low < 0.8 < high
    assert high - low < 0.04
    low, high = noise_free_total_variation_interval(counts, [0.5, 0.5])
    assert low < 0.4 < high
    assert high - low < 0.02


def test_one_prompt_and_one_image_have_no_interval_and_no_sign() -> None:
    assert all(math.isnan(bound) for bound in noise_free_bias_interval(torch.tensor([[3, 4], [0, 0]])))
    assert float(cross_fitted_biases(torch.tensor([1, 0]))) == 0.0
    assert float(cross_fitted_total_variations(torch.tensor([1, 0]), torch.tensor([0.5, 0.5]))) == 0.0


def test_bad_input_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="level is 2"):
        noise_free_bias_interval(torch.tensor([[1, 2]]), level=2)
    with pytest.raises(ConfigurationError, match="2 classes and target_shares 3"):
        noise_free_total_variation_interval(torch.tensor([[1, 2]]), [0.2, 0.3, 0.5])


def test_halvings_in_parts_are_those_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = torch.tensor([[[12, 6, 4], [0, 0, 0]], [[3, 9, 8], [1, 0, 0]]])
    at_once = cross_fitted_biases(counts)
    monkeypatch.setattr(cross_fitting, "_NUMBERS_AT_ONCE", 20)
    assert torch.equal(cross_fitted_biases(counts), at_once)
    assert cross_fitted_biases(torch.zeros(0, 3)).shape == (0,)
