from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import beta, norm

from fairlit.errors import ConfigurationError
from fairlit.functional.statistics.classifier_error import (
    cleam,
    correct_frequencies,
    corrected_bootstrap,
    corrected_intervals,
    seen_frequencies,
)

TWO = torch.tensor([[0.9, 0.1], [0.2, 0.8]], dtype=torch.float64)
FOUR = torch.tensor([[9, 1, 0, 0], [1, 8, 1, 0], [0, 1, 8, 1], [0, 0, 1, 9]], dtype=torch.float64) / 10


def test_true_shares_are_seen_through_the_errors_of_each_attribute() -> None:
    torch.manual_seed(0)
    true = torch.rand(3, 2, 4, dtype=torch.float64)
    true = true / true.sum(dim=(1, 2), keepdim=True)
    expected = torch.zeros_like(true)
    for one in range(2):
        for other in range(4):
            expected += true[:, one, other, None, None] * TWO[one][:, None] * FOUR[other]
    seen = seen_frequencies(true, [TWO * 50, FOUR])  # counts or shares
    torch.testing.assert_close(seen, expected)
    torch.testing.assert_close(correct_frequencies(seen, [TWO, FOUR]), true)


def test_cleam_by_hand() -> None:
    """Seen share 0.9 p + 0.2 (1 - p): p = 0.6 is seen as 0.62; the batches spread by 0.02."""
    estimate, (low, high) = cleam(torch.tensor([0.60, 0.64, 0.60, 0.64], dtype=torch.float64), (0.9, 0.8))
    assert estimate == pytest.approx(0.6)
    half = norm.ppf(0.975) * 0.02 / 2 / 0.7
    assert (low, high) == pytest.approx((0.6 - half, 0.6 + half))


def test_cleam_finds_what_its_paper_reports() -> None:
    """StyleGAN2, gender, ResNet-18 with accuracies .947 and .983: labelled .642, counted .610, corrected .638.

    Errors as reported: 4.98 % before, 0.62 % after (Teo et al., NeurIPS 2023, table 1).
    """
    estimate, _ = cleam(torch.full((30,), 0.610, dtype=torch.float64), (0.947, 0.983))
    assert estimate == pytest.approx(0.638, abs=5e-4)
    assert abs(0.610 - 0.642) / 0.642 == pytest.approx(0.0498, abs=1e-4)
    assert abs(round(estimate, 3) - 0.642) / 0.642 == pytest.approx(0.0062, abs=1e-4)


def test_cleam_is_the_inversion_for_two_classes() -> None:
    seen = torch.tensor([0.37, 0.41])
    estimate, _ = cleam(seen, (0.9, 0.8))
    mean = float(seen.double().mean())
    assert float(correct_frequencies(torch.tensor([mean, 1 - mean]).double(), [TWO])[0]) == pytest.approx(estimate)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=8, max_size=8).filter(any))
def test_what_was_confused_is_found_again(integers: list[int]) -> None:
    """A joint table seen through both classifiers, cell by cell."""
    p = torch.tensor(integers, dtype=torch.float64).view(2, 4) / sum(integers)
    seen = torch.einsum("ij,ia,jb->ab", p, TWO, FOUR)
    assert torch.allclose(correct_frequencies(seen, [TWO, FOUR]), p, rtol=0, atol=1e-9)
    assert torch.allclose(correct_frequencies(seen.sum(1), [TWO]), p.sum(1), rtol=0, atol=1e-9)  # per attribute
    both = torch.stack([seen, seen])
    assert torch.allclose(correct_frequencies(both, [100 * TWO, 30 * FOUR])[1], p, rtol=0, atol=1e-9)  # counts as well


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=4, max_size=4).filter(any))
def test_beyond_the_simplex_the_nearest_shares_are_taken(integers: list[int]) -> None:
    seen = torch.tensor(integers, dtype=torch.float64) / sum(integers)
    inverse = (seen @ torch.linalg.inv(FOUR)).numpy()
    nearest = minimize(
        lambda p: ((p - inverse) ** 2).sum(),
        np.full(4, 0.25),
        bounds=[(0, 1)] * 4,
        constraints={"type": "eq", "fun": lambda p: p.sum() - 1},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    corrected = correct_frequencies(seen, [FOUR])
    assert corrected.numpy() == pytest.approx(nearest.x, abs=1e-5)
    assert float(corrected.sum()) == pytest.approx(1)


def test_a_perfect_classifier_leaves_the_interval_of_counting() -> None:
    """Jeffreys' interval, which is a beta distribution's."""
    low, high = corrected_intervals(torch.tensor([30, 70]), [[[10**9, 0], [0, 10**9]]], draws=40_000)[0].tolist()
    assert (low, high) == pytest.approx(tuple(beta(30.5, 70.5).ppf([0.025, 0.975])), abs=0.004)


def test_interval_has_both_sources_of_error() -> None:
    """Many images, few faces: the delta method's variance of (q - b) / (a - b) in a and b."""
    counts, faces = torch.tensor([620_000, 380_000]), [[90, 10], [20, 80]]
    low, high = corrected_intervals(counts, [faces], draws=40_000)[0].tolist()
    p, a, b = 0.6, 0.9, 0.2
    deviation = ((p**2 * a * (1 - a) + (1 - p) ** 2 * b * (1 - b)) / 100) ** 0.5 / (a - b)
    assert high - low == pytest.approx(2 * norm.ppf(0.975) * deviation, rel=0.05)
    known = corrected_intervals(counts, [[[90_000_000, 10_000_000], [20_000_000, 80_000_000]]])[0]
    assert float(known[1] - known[0]) < 0.005


def test_joint_intervals_hold_the_true_shares() -> None:
    p = torch.tensor([[0.3, 0.1, 0.1, 0.0], [0.1, 0.1, 0.2, 0.1]], dtype=torch.float64)
    counts = (torch.einsum("ij,ia,jb->ab", p, TWO, FOUR) * 4000).round().long()
    bounds = corrected_intervals(counts, [1000 * TWO, 1000 * FOUR], draws=2000)
    assert bounds.shape == (2, 4, 2)
    assert bool(((bounds[..., 0] <= p) & (p <= bounds[..., 1])).all())
    assert float((bounds[..., 1] - bounds[..., 0]).max()) < 0.12


def share(frequencies: torch.Tensor) -> torch.Tensor:
    return frequencies[:, :, 0].mean(dim=1)


def test_over_prompts_the_validation_set_adds_its_error() -> None:
    counts = torch.from_numpy(np.random.default_rng(0).multinomial(60, [0.62, 0.38], size=30))
    value, (low, high) = corrected_bootstrap(counts, [[[90, 10], [20, 80]]], share)
    sure, (sure_low, sure_high) = corrected_bootstrap(counts, [[[9 * 10**6, 10**6], [2 * 10**6, 8 * 10**6]]], share)
    assert value == pytest.approx(sure)
    seen = float((counts[:, 0] / 60).double().mean())
    assert value == pytest.approx((seen - 0.2) / 0.7, abs=0.005)
    spread = float((counts[:, 0] / 60).double().std()) / 0.7 / 30**0.5
    assert sure_high - sure_low == pytest.approx(2 * 2.045 * spread, rel=0.1)  # Student's t with 29
    known = norm.ppf(0.975) * ((0.6**2 * 0.09 + 0.4**2 * 0.16) / 100) ** 0.5 / 0.7
    assert (high - low) / 2 == pytest.approx(np.hypot((sure_high - sure_low) / 2, known), rel=0.1)


def test_joint_tables_over_prompts() -> None:
    p = torch.tensor([[0.3, 0.1, 0.1, 0.05], [0.1, 0.1, 0.15, 0.1]], dtype=torch.float64)
    seen = torch.einsum("ij,ia,jb->ab", p, TWO, FOUR).flatten().numpy()
    counts = torch.from_numpy(np.random.default_rng(0).multinomial(400, seen, size=10)).view(10, 2, 4)
    value, (low, high) = corrected_bootstrap(counts, [500 * TWO, 500 * FOUR], share, draws=200)
    assert low < 0.3 < high
    assert value == pytest.approx(0.3, abs=0.05)


def test_too_little_to_say_anything() -> None:
    assert bool(corrected_intervals(torch.tensor([0, 0]), [10 * TWO]).isnan().all())
    value, (low, high) = corrected_bootstrap(torch.tensor([[3, 4], [0, 0]]), [10 * TWO], share)
    assert all(number != number for number in (value, low, high))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cleam(torch.tensor([0.5]), (0.4, 0.6)), "sum to more than 1"),
        (lambda: cleam(torch.tensor([]), (0.9, 0.9)), "at least one batch"),
        (lambda: correct_frequencies(torch.tensor([0.5, 0.5]), [FOUR]), r"matrix 0 has shape \(4, 4\)"),
        (lambda: correct_frequencies(torch.tensor([0.5, 0.5]), [TWO, TWO]), "2 matrices for frequencies"),
        (lambda: correct_frequencies(torch.tensor([0.5, 0.5]), [[[5, 5], [0, 0]]]), r"true class \[1\]"),
        (lambda: correct_frequencies(torch.tensor([0.5, 0.5]), [[[5, 5], [5, 5]]]), "hardly told apart"),
        (lambda: corrected_intervals(torch.tensor([5, 5]), [TWO]), "give counts"),
        (lambda: corrected_intervals(torch.tensor([5, 5]), [10 * TWO], level=0.0), "level=0.0"),
        (lambda: corrected_bootstrap(torch.tensor([[5, 5]]), [10 * TWO], share, draws=1), "draws=1"),
    ],
)
def test_bad_input_is_refused(call, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        call()


def test_all_problems_come_together() -> None:
    with pytest.raises(ConfigurationError, match="2 problems"):
        correct_frequencies(torch.full((2, 2), 0.25), [FOUR, [[5, 5], [0, 0]]])
