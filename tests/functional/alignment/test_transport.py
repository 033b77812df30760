from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.stats import multinomial
from torch import Tensor

from fairlit.errors import ConfigurationError
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.alignment.transport import assignment_costs, expected_assignment


def binary(share: float) -> TargetDistribution:
    return TargetDistribution({"gender": {"female": 1 - share, "male": share}})


def two_columns(p: Tensor) -> dict[str, Tensor]:
    return {"gender": torch.stack([1 - p, p], dim=1)}


def softmax_rows(n: int, classes: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(n, classes, generator=generator, dtype=torch.float64)).softmax(dim=1)


def full_plan(
    probabilities: list[np.ndarray], label_sets: np.ndarray, factors: dict[tuple[int, int, int], float]
) -> Any:
    """Classes that an N x N assignment gives to N samples: the definition, with nothing simplified."""
    n = len(label_sets)
    costs = np.zeros((n, n))
    for i, j in itertools.product(range(n), range(n)):
        for a, p in enumerate(probabilities):
            for k in range(p.shape[1]):
                hot = float(label_sets[j, a] == k)
                factor = factors.get((a, int(label_sets[j, a]), k), 1.0)
                costs[i, j] += (factor * (p[i, k] - hot)) ** 2
    rows, columns = linear_sum_assignment(np.sqrt(costs))
    return label_sets[columns[np.argsort(rows)]]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.floats(0, 1), st.integers(0, 10_000))
def test_the_closed_form_is_the_mean_of_plans_for_every_ratio(n: int, share: float, seed: int) -> None:
    """The expectation over draws is exact here: every possible number of class-1 draws, with its probability."""
    p = torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = np.zeros((n, 2))
    for ones in range(n + 1):
        drawn = np.array([[1]] * ones + [[0]] * (n - ones))
        given_classes = full_plan([two_columns(p)["gender"].numpy()], drawn, {})[:, 0]
        probability = multinomial.pmf([n - ones, ones], n, [1 - share, share])
        expected += probability * np.stack([given_classes == 0, given_classes == 1], axis=1)
    plan = expected_assignment(two_columns(p), binary(share))
    assert np.allclose(plan.numpy(), expected, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=12), st.floats(0, 1))
def test_ties_go_by_position_and_keep_the_total(values: list[float], share: float) -> None:
    p = torch.tensor(values, dtype=torch.float64)
    plan = expected_assignment(two_columns(p), binary(share))
    assert torch.allclose(plan.sum(1), torch.ones(len(p), dtype=torch.float64), atol=1e-12)
    assert float(plan[:, 1].sum()) == pytest.approx(len(p) * share, abs=1e-9)  # the mean number of class-1 draws
    for i, j in itertools.pairwise(sorted(range(len(p)), key=lambda i: (values[i], i))):
        assert float(plan[i, 1]) <= float(plan[j, 1]) + 1e-12
    assert torch.equal(plan, expected_assignment(two_columns(p), binary(share), seed=5))


def test_few_classes_give_the_plan_of_the_full_problem() -> None:
    target = TargetDistribution.from_joint({"a": "xy", "b": "uvw"}, [[0.1, 0.2, 0.3], [0.05, 0.15, 0.2]])
    probabilities = {"a": softmax_rows(11, 2, 0), "b": softmax_rows(11, 3, 1)}
    costs = {"b": {"w": {"u": 2.0, "w": 0.5}}}
    plan = expected_assignment(probabilities, target, draws=60, seed=3, class_costs=costs)
    drawn = target.sample(60 * 11, torch.Generator().manual_seed(3)).view(60, 11, 2).numpy()
    expected = np.zeros((11, 2, 3))
    for label_sets in drawn:
        arrays = [p.numpy() for p in probabilities.values()]
        for i, (a, b) in enumerate(full_plan(arrays, label_sets, {(1, 2, 0): 2.0, (1, 2, 2): 0.5})):
            expected[i, a, b] += 1 / 60
    assert np.allclose(plan.view(11, 2, 3).numpy(), expected, atol=1e-9)


def test_one_binary_attribute_by_draws_approaches_the_closed_form() -> None:
    """A second attribute that nothing distinguishes sends the same problem through the drawn plans."""
    p = softmax_rows(12, 2, 4)
    idle = {"gender": p, "idle": torch.full((12, 2), 0.5, dtype=torch.float64)}
    target = TargetDistribution({"gender": {"female": 0.7, "male": 0.3}, "idle": {"u": 1.0, "v": 0.0}})
    drawn = expected_assignment(idle, target, draws=3000).view(12, 2, 2).sum(2)
    exact = expected_assignment({"gender": p}, target.restrict(["gender"]))
    assert float((drawn - exact).abs().max()) < 4 * 0.5 / 3000**0.5


def test_samples_that_look_alike_are_still_told_apart() -> None:
    """A saturated classifier: without a rule for ties the mean plan would be undecided on every sample."""
    saturated = torch.tensor([[1.0, 0.0]]).repeat(24, 1)
    tone = torch.tensor([[1.0, 0.0, 0.0]]).repeat(24, 1)
    target = TargetDistribution({"gender": {"f": 0.5, "m": 0.5}, "tone": {"a": 0.5, "b": 0.25, "c": 0.25}})
    plan = expected_assignment({"gender": saturated, "tone": tone}, target).view(24, 2, 3)
    gender = plan.sum(2)
    assert float(gender.sum(0)[1]) == pytest.approx(12, abs=1.5)
    assert float((gender.amax(1) >= 0.8).double().mean()) > 0.6


def test_of_two_plans_that_cost_the_same_one_is_taken() -> None:
    """A saturated classifier sees b, d and b; the draw is a, b and c.

    One `b` stays and both others change, at a cost of 2 sqrt(2) whichever `b` it is. The rule for ties, the sum of
    position times class, is 0*1 + 1*0 + 2*2 = 4 for the labels b, a, c and 0*0 + 1*2 + 2*1 = 4 for a, c, b. So both
    plans are optimal, and which one comes out is up to the solver.
    """
    target = TargetDistribution({"race": dict.fromkeys("abcd", 0.25)})
    saturated = {"race": torch.eye(4, dtype=torch.float64)[[1, 3, 1]]}
    costs = assignment_costs(saturated, target)
    totals = {labels: float(sum(costs[range(3), labels])) for labels in itertools.permutations([0, 1, 2])}
    cheapest = {labels for labels, total in totals.items() if total < min(totals.values()) + 1e-15}
    assert cheapest == {(1, 0, 2), (0, 2, 1)}
    assert min(totals.values()) == pytest.approx(2 * 2**0.5, abs=1e-6)

    def drawn(seed: int) -> list[int]:
        return sorted(target.sample(3, torch.Generator().manual_seed(seed)).flatten().tolist())

    seed = next(seed for seed in itertools.count() if drawn(seed) == [0, 1, 2])
    plan = expected_assignment(saturated, target, draws=1, seed=seed)
    assert tuple(plan.argmax(dim=1).tolist()) in cheapest


@pytest.mark.parametrize("n", [0, 1, 16])
def test_rows_sum_to_one_and_columns_to_the_draws(n: int) -> None:
    target = TargetDistribution({"a": {"x": 0.5, "y": 0.5}, "b": {"u": 1.0, "v": 0.0}})
    plan = expected_assignment({"a": softmax_rows(n, 2, 0), "b": softmax_rows(n, 2, 1)}, target, draws=20, seed=7)
    assert plan.shape == (n, 4)
    assert plan.dtype == torch.float64
    assert torch.allclose(plan.sum(1), torch.ones(n, dtype=torch.float64), atol=1e-12)
    assert float(plan[:, [1, 3]].abs().sum()) == 0.0  # v is never drawn


def test_forty_samples_of_sixteen_classes_take_well_under_a_second() -> None:
    target = TargetDistribution(
        {"gender": {"f": 0.5, "m": 0.5}, "race": dict.fromkeys("abcd", 0.25), "age": {"young": 0.75, "old": 0.25}}
    )
    probabilities = {"gender": softmax_rows(40, 2, 0), "race": softmax_rows(40, 4, 1), "age": softmax_rows(40, 2, 2)}
    start = time.process_time()
    expected_assignment(probabilities, target, draws=100)
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gender": torch.full((4, 3), 1 / 3)}, r"'gender' have shape \(4, 3\), give \[N, 2\]"),
        ({"gender": torch.full((4, 2), 0.4)}, "do not sum to 1"),
        ({"gender": torch.tensor([[1.5, -0.5]] * 4)}, r"leave \[0, 1\]"),
        ({"gender": torch.tensor([[float("nan"), 0.5]] * 4)}, "not finite"),
        ({"gender": torch.full((3, 2), 0.5)}, r"different numbers of samples \[3, 4\]"),
        ({"hat": torch.full((4, 2), 0.5)}, "'hat' have no target"),
    ],
)
def test_input_that_does_not_fit_is_refused(change: dict[str, Tensor], message: str) -> None:
    target = TargetDistribution({"gender": {"f": 0.5, "m": 0.5}, "age": {"young": 0.75, "old": 0.25}})
    good = {"gender": torch.full((4, 2), 0.5), "age": torch.full((4, 2), 0.5)}
    with pytest.raises(ConfigurationError, match=message):
        expected_assignment(good | change, target)


def test_everything_wrong_is_named_at_once() -> None:
    target = TargetDistribution({"gender": {"f": 0.5, "m": 0.5}, "age": {"young": 0.75, "old": 0.25}})
    with pytest.raises(ConfigurationError, match="4 problems"):
        expected_assignment({"gender": torch.ones(4, 2), "hat": torch.ones(4, 2)}, target, draws=0)
    good = {"gender": torch.full((4, 2), 0.5), "age": torch.full((4, 2), 0.5)}
    wrong = {"hat": {}, "age": {"old": {"middle": 2.0, "young": -1.0}, "ancient": {"young": 2.0}}}
    with pytest.raises(ConfigurationError, match="class_costs: 4 problems"):
        expected_assignment(good, target, class_costs=wrong)
