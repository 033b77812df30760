from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, multinomial

from fairlit.errors import ConfigurationError
from fairlit.functional.statistics import multinomial as module
from fairlit.functional.statistics.multinomial import multinomial_test
from fairlit.functional.statistics.outcomes import outcomes


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.data())
def test_two_classes_are_the_binomial_test(n: int, data: st.DataObject) -> None:
    k, p = data.draw(st.integers(0, n)), data.draw(st.sampled_from([0.5, 0.75, 0.2, 0.37]))
    assert float(multinomial_test(torch.tensor([k, n - k]), [p, 1 - p])) == pytest.approx(binomtest(k, n, p).pvalue)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=3, max_size=4).filter(any), st.data())
def test_several_classes_against_all_outcomes(counts: list[int], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(1, 5), min_size=len(counts), max_size=len(counts)))
    shares, n = np.array(weights) / sum(weights), sum(counts)
    rows = [row for row in itertools.product(range(n + 1), repeat=len(counts)) if sum(row) == n]
    pmf = multinomial.pmf(rows, n, shares)
    expected = pmf[pmf <= multinomial.pmf(counts, n, shares) * (1 + 1e-7)].sum()
    assert float(multinomial_test(torch.tensor(counts), shares)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.75, 0.25], [0.25, 0.25, 0.5]])
def test_the_level_is_kept(shares: list[float]) -> None:
    """The probability of a p-value of at most alpha, summed over all outcomes."""
    rows = outcomes(30, len(shares))
    p_values, pmf = multinomial_test(torch.from_numpy(rows), shares).numpy(), multinomial.pmf(rows, 30, shares)
    for alpha in (0.01, 0.05, 0.2):
        assert pmf[p_values <= alpha].sum() <= alpha + 1e-12
    assert pmf[p_values <= 0.05].sum() > 0.01  # and it is no test that never rejects


def test_drawn_p_values_agree_with_enumerated_ones() -> None:
    counts, shares = torch.tensor([[12, 6, 4, 2], [10, 5, 5, 4], [3, 9, 9, 3]]), [0.4, 0.3, 0.2, 0.1]
    exact = multinomial_test(counts, shares)
    drawn = multinomial_test(counts, shares, exact_outcomes=0, draws=20_000)
    assert torch.allclose(drawn, exact, rtol=0, atol=4 * 0.5 / 20_000**0.5)
    assert drawn.tolist() != exact.tolist()
    assert drawn.tolist() == multinomial_test(counts, shares, exact_outcomes=0, draws=20_000).tolist()
    never = multinomial_test(torch.tensor([24, 0, 0, 0]), [0.1, 0.3, 0.3, 0.3], exact_outcomes=0, draws=99)
    assert float(never) == pytest.approx(1 / 100)  # not 0: nobody has seen that it cannot happen


def test_many_classes_and_images_are_drawn_not_enumerated() -> None:
    counts = torch.full((2, 16), 3)
    counts[1, 0] = 20
    p_values = multinomial_test(counts, [1 / 16] * 16, draws=2000)
    assert float(p_values[0]) == 1.0  # the most probable outcome
    assert float(p_values[1]) == pytest.approx(1 / 2001)


def test_ruled_out_classes_and_prompts_without_images() -> None:
    counts = torch.tensor([[3, 0, 0], [2, 1, 0], [2, 0, 1], [0, 0, 0]])
    for exact_outcomes in (1000, 0):
        p_values = multinomial_test(counts, [0.5, 0.5, 0.0], draws=1000, exact_outcomes=exact_outcomes)
        assert p_values[:3].tolist() == pytest.approx([0.25, 1.0, 0.0], abs=0.06)
        assert float(p_values[2]) == 0.0
        assert bool(p_values[3].isnan())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: multinomial_test(torch.tensor([1, 2]), [0.2, 0.3, 0.5]), "2 classes and target_shares 3"),
        (lambda: multinomial_test(torch.tensor([1, 2]), [0.2, 0.3]), "sum to 1"),
        (lambda: multinomial_test(torch.tensor([1, 2]), [0.5, 0.5], draws=0), "draws is 0"),
    ],
)
def test_bad_input_is_refused(call, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        call()


def test_outcomes_drawn_in_parts_are_those_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, shares = torch.tensor([[12, 6, 4, 2], [3, 9, 9, 3]]), [0.4, 0.3, 0.2, 0.1]
    at_once = multinomial_test(counts, shares, exact_outcomes=0, draws=999)
    monkeypatch.setattr(module, "_NUMBERS_AT_ONCE", 4 * 100)
    assert torch.equal(multinomial_test(counts, shares, exact_outcomes=0, draws=999), at_once)
