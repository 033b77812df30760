from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlit.errors import ConfigurationError
from fairlit.functional.statistics.multiple_testing import holm


def rejected_step_by_step(p_values: list[float], alpha: float) -> set[int]:
    """Holm's procedure as he writes it: go on while the least of those left is at most alpha over their number."""
    left, rejected = sorted(range(len(p_values)), key=lambda i: p_values[i]), set()
    while left and p_values[left[0]] <= alpha / len(left):
        rejected.add(left.pop(0))
    return rejected


thousandths = st.lists(st.integers(0, 1000).map(lambda i: i / 1000), min_size=1, max_size=8)


@settings(max_examples=30, deadline=None)
@given(thousandths, st.sampled_from([0.0133, 0.0501]))  # no thousandths: multiples of those would tie but for rounding
def test_adjusted_values_reject_what_the_procedure_does(p_values: list[float], alpha: float) -> None:
    adjusted = holm(p_values)
    assert {i for i, p in enumerate(adjusted.tolist()) if p <= alpha} == rejected_step_by_step(p_values, alpha)
    assert bool((adjusted >= torch.tensor(p_values, dtype=torch.float64)).all())


def test_tests_that_were_not_made_do_not_count() -> None:
    adjusted = holm([0.04, float("nan"), 0.01])
    assert adjusted[[0, 2]].tolist() == pytest.approx([0.04, 0.02])
    assert bool(adjusted[1].isnan())
    assert holm([]).tolist() == []


def test_the_family_wise_error_is_kept() -> None:
    """20 true hypotheses: in at most 5 % of 1000 families one is rejected."""
    p_values = torch.from_numpy(np.random.default_rng(0).random((1000, 20)))
    errors = sum(float(holm(row).min()) <= 0.05 for row in p_values)
    assert errors / 1000 == pytest.approx(1 - (1 - 0.05 / 20) ** 20, abs=4 * (0.05 * 0.95 / 1000) ** 0.5)


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="from 0 to 1"):
        holm([0.5, 1.5])
