from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy, multinomial

from fairlit.errors import ConfigurationError
from fairlit.functional.statistics import fairness

weights = st.lists(st.integers(0, 9), min_size=2, max_size=4).filter(any)


def shares_of(integers: list[int]) -> np.ndarray:
    return np.array(integers) / sum(integers)


@settings(max_examples=60, deadline=None)
@given(weights)
def test_bias_is_the_mean_over_pairs(integers: list[int]) -> None:
    f = shares_of(integers)
    expected = np.mean([abs(a - b) for a, b in itertools.combinations(f, 2)])
    assert fairness.pairwise_bias(f) == pytest.approx(expected, abs=1e-12)
    assert fairness.pairwise_bias(f) <= 2 / len(f) + 1e-12


@settings(max_examples=60, deadline=None)
@given(weights, st.data())
def test_distances_to_a_target(integers: list[int], data: st.DataObject) -> None:
    f = shares_of(integers)
    same_length = st.lists(st.integers(1, 9), min_size=len(f), max_size=len(f))
    target = shares_of(data.draw(same_length))
    subsets = itertools.chain.from_iterable(itertools.combinations(range(len(f)), size) for size in range(len(f) + 1))
    largest_gap = max(abs(f[list(events)].sum() - target[list(events)].sum()) for events in subsets)
    assert fairness.total_variation(f, target) == pytest.approx(largest_gap, abs=1e-12)
    assert fairness.kl_divergence(f, target) == pytest.approx(entropy(f, target), abs=1e-12)
    assert fairness.total_variation(f, f) == 0.0
    assert fairness.kl_divergence(f, f) == pytest.approx(0.0, abs=1e-12)


def test_a_class_that_the_target_rules_out_is_infinitely_far() -> None:
    assert fairness.kl_divergence([0.5, 0.5], [1.0, 0.0]) == math.inf
    assert fairness.kl_divergence([1.0, 0.0], [1.0, 0.0]) == 0.0


@settings(max_examples=40, deadline=None)
@given(weights, st.integers(1, 8))
def test_floors_are_expectations_over_all_outcomes(integers: list[int], n: int) -> None:
    shares = shares_of(integers)
    expected_bias = expected_tv = 0.0
    for counts in itertools.product(range(n + 1), repeat=len(shares)):
        if sum(counts) == n:
            probability = multinomial.pmf(counts, n, shares)
            f = np.array(counts) / n
            expected_bias += probability * np.mean([abs(a - b) for a, b in itertools.combinations(f, 2)])
            expected_tv += probability * np.abs(f - shares).sum() / 2
    assert fairness.noise_floor(shares, n) == pytest.approx(expected_bias, abs=1e-9)
    assert fairness.noise_floor_tv(shares, n) == pytest.approx(expected_tv, abs=1e-9)


def test_floors_of_many_images_are_those_of_the_normal_limit() -> None:
    # |n_1 - n_2| / n of two even classes tends to |N(0, 1 / n)|, whose mean is sqrt(2 / (pi n))
    assert fairness.noise_floor([0.5, 0.5], 10_000) == pytest.approx(math.sqrt(2 / (math.pi * 10_000)), rel=1e-3)
    deviation = math.sqrt(0.25 * 0.75 / 10_000) * math.sqrt(2 / math.pi)  # two classes, halved
    assert fairness.noise_floor_tv([0.25, 0.75], 10_000) == pytest.approx(deviation, rel=1e-3)
    assert fairness.noise_floor([0.75, 0.25], 10_000) == pytest.approx(0.5, rel=1e-3)  # what the target asks for


def test_floor_of_a_joint_table_of_sixteen_classes_agrees_with_draws() -> None:
    table = torch.tensor([[0.6, 0.2], [0.1, 0.1]], dtype=torch.float64)[:, :, None] * torch.full((4,), 0.25)
    drawn = np.random.default_rng(0).multinomial(40, table.flatten().numpy(), size=4000) / 40
    drawn_bias = fairness.pairwise_biases(torch.from_numpy(drawn)).numpy()
    assert fairness.noise_floor(table, 40) == pytest.approx(drawn_bias.mean(), abs=5 * drawn_bias.std() / 4000**0.5)


def test_published_gaps() -> None:
    golden = json.loads((Path(__file__).parents[2] / "golden" / "alignment.json").read_text())
    case = golden["gender_race_age_N40"]
    gender, race, age = (torch.tensor(case[f"p_{name}"]).argmax(1) for name in ("gender", "race", "age"))
    frequencies = {
        "gender_gap": torch.bincount(gender, minlength=2) / 40,
        "race_gap": torch.bincount(race, minlength=4) / 40,
        "gender_race_gap": torch.bincount(4 * gender + race, minlength=8) / 40,
    }
    for name, f in frequencies.items():
        assert fairness.pairwise_bias(f) == pytest.approx(golden["metrics"][name], abs=1e-6)
    young = float((age == 0).double().mean())
    assert young == pytest.approx(golden["metrics"]["age_young_freq"])
    assert fairness.total_variation([young, 1 - young], [0.75, 0.25]) == pytest.approx(golden["metrics"]["age_gap"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fairness.pairwise_bias([1.0]), "at least two"),
        (lambda: fairness.total_variation([0.5, 0.5], [0.5, 0.25, 0.25]), "2 frequencies and 3 target_shares"),
        (lambda: fairness.noise_floor([0.5, 0.5], 0), "n is 0"),
        (lambda: fairness.noise_floor_tv([0.5, 0.4], 3), "sum to 1"),
        (lambda: fairness.noise_floor([1.5, -0.5], 3), "from 0 to 1"),
    ],
)
def test_bad_input_is_refused(call, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        call()


def test_bias_of_very_many_classes_is_the_mean_over_their_pairs() -> None:
    shares = np.random.default_rng(0).dirichlet(np.ones(40), size=(2, 3))
    expected = [
        [np.mean([abs(p - q) for p, q in itertools.combinations(row, 2)]) for row in rows] for rows in shares.tolist()
    ]
    np.testing.assert_allclose(fairness.pairwise_biases(torch.from_numpy(shares)).numpy(), expected, rtol=1e-12)


def test_a_floor_in_parts_is_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = [0.1, 0.2, 0.3, 0.4]
    at_once = fairness.noise_floor(shares, 24)
    monkeypatch.setattr(fairness, "_NUMBERS_AT_ONCE", 40)
    assert fairness.noise_floor(shares, 24) == at_once
