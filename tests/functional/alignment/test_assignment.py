from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fairlit.errors import ConfigurationError
from fairlit.functional.alignment.assignment import Assignment, alignment_loss, assign_targets
from fairlit.functional.alignment.target_distribution import TargetDistribution

SHARES = {
    "gender": {"female": 0.5, "male": 0.5},
    "race": {"WMELH": 0.25, "Black": 0.25, "Indian": 0.25, "Asian": 0.25},
    "age": {"young": 0.75, "old": 0.25},
}
AGE_COST = {"age": {"old": {"young": 2.0}}}


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((Path(__file__).parents[2] / "golden" / "alignment.json").read_text())
    return content


@pytest.mark.parametrize("case", ["binary_N12", "binary_N24", "binary_N48"])
def test_published_binary_assignment(golden: dict[str, Any], case: str) -> None:
    p = torch.tensor(golden[case]["probs"])
    faces = p[:, 0] >= 0
    assignment = assign_targets({"gender": p[faces]}, TargetDistribution({"gender": SHARES["gender"]}))
    assert torch.equal(assignment.labels["gender"], torch.tensor(golden[case]["targets"])[faces])
    uncertainty = torch.tensor(golden[case]["uncertainty"], dtype=torch.float64)[faces]
    assert torch.allclose(1 - assignment.confidence["gender"], uncertainty, atol=3e-8)  # the file holds float32


@pytest.mark.parametrize("case", ["gender_race_N16", "gender_race_N32", "gender_race_age_N40"])
def test_published_assignment_of_several_attributes(golden: dict[str, Any], case: str) -> None:
    attributes = [name for name in SHARES if f"p_{name}" in golden[case]]
    probabilities = {name: torch.tensor(golden[case][f"p_{name}"]) for name in attributes}
    faces = probabilities["gender"][:, 0] >= 0
    target = TargetDistribution({name: SHARES[name] for name in attributes})
    costs = AGE_COST if "age" in attributes else None
    assignment = assign_targets({k: p[faces] for k, p in probabilities.items()}, target, draws=4000, class_costs=costs)
    for name in attributes:
        labels = torch.tensor(golden[case][f"t_{name}"])[faces]
        uncertainty = torch.tensor(golden[case][f"u_{name}"], dtype=torch.float64)[faces]
        same = assignment.labels[name] == labels
        clear = (uncertainty - 0.5).abs() > 0.1
        assert bool(same[clear].all()), name
        # two independent means of 4000 draws: four standard deviations of their difference
        tolerance = 4 * (2 * 0.25 / 4000) ** 0.5
        assert float((1 - assignment.confidence[name] - uncertainty).abs()[same].max()) < tolerance, name


def test_the_age_cost_matters(golden: dict[str, Any]) -> None:
    """Without it the published labels of the third case are not reproduced: the factor is really used."""
    case = golden["gender_race_age_N40"]
    probabilities = {name: torch.tensor(case[f"p_{name}"]) for name in SHARES}
    plain = assign_targets(probabilities, TargetDistribution(SHARES), draws=4000)
    uncertainty = torch.tensor(case["u_age"], dtype=torch.float64)
    assert float((1 - plain.confidence["age"] - uncertainty).abs().max()) > 4 * (2 * 0.25 / 4000) ** 0.5


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.floats(0, 1), st.integers(0, 1000))
def test_a_binary_assignment_follows_the_target_and_the_ranking(n: int, share: float, seed: int) -> None:
    p = torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    target = TargetDistribution({"a": {"x": 1 - share, "y": share}})
    assignment = assign_targets({"a": torch.stack([1 - p, p], 1)}, target)
    labels = assignment.labels["a"][p.argsort()]
    assert bool((labels.diff() >= 0).all())  # class 1 goes to the top
    # The number of y's is a median of Binomial(n, share), which lies within log(2) of the mean (Hamza 1995).
    assert abs(float(labels.sum()) - n * share) <= 0.6932
    assert bool((assignment.confidence["a"] >= 0.5).all())


def test_an_assignment_is_the_same_on_every_rank_and_has_no_gradient() -> None:
    logits = torch.randn(20, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    target = TargetDistribution({"race": SHARES["race"]})
    torch.manual_seed(1)
    first = assign_targets({"race": logits.softmax(1)}, target)
    torch.manual_seed(2)
    second = assign_targets({"race": logits.softmax(1)}, target)
    assert torch.equal(first.labels["race"], second.labels["race"])
    assert torch.equal(first.confidence["race"], second.confidence["race"])
    assert not first.confidence["race"].requires_grad
    assert first.confidence["race"].dtype == torch.float64
    assert first.labels["race"].dtype == torch.int64
    other = assign_targets({"race": logits.softmax(1)}, target, seed=1)
    assert not torch.equal(first.confidence["race"], other.confidence["race"])


def test_attribute_order_of_the_input_does_not_matter() -> None:
    p = {"age": torch.rand(9, 2).softmax(1), "gender": torch.rand(9, 2).softmax(1)}
    target = TargetDistribution({"gender": SHARES["gender"], "age": SHARES["age"]})
    first, second = assign_targets(p, target), assign_targets({"gender": p["gender"], "age": p["age"]}, target)
    for name in p:
        assert torch.equal(first.confidence[name], second.confidence[name])


def assignment_of(labels: Tensor, confidence: Tensor) -> Assignment:
    return Assignment({"a": labels}, {"a": confidence})


def test_the_loss_is_the_written_sum() -> None:
    logits = {"a": torch.randn(5, 3, dtype=torch.float64), "b": torch.randn(5, 2, dtype=torch.float64)}
    labels = {"a": torch.tensor([0, 1, 2, 1, 0]), "b": torch.tensor([1, 1, 0, 0, 1])}
    confidence = {"a": torch.tensor([0.8, 0.79, 1.0, 0.2, 0.9]), "b": torch.tensor([0.1, 0.81, 0.95, 0.6, 0.5])}
    expected = 0.0
    for name in logits:
        for row, label, sure in zip(logits[name], labels[name], confidence[name], strict=True):
            if float(sure) > 0.795:
                expected += float(row.exp().sum().log() - row[label])
    assignment = Assignment(labels, confidence)
    loss = alignment_loss(logits, assignment, threshold=0.795)
    assert float(loss) == pytest.approx(expected / 5, rel=1e-12)
    chunks = [
        alignment_loss({k: v[i] for k, v in logits.items()}, assignment.select(i), threshold=0.795, reduction="sum")
        for i in (slice(0, 2), slice(2, 5))
    ]
    assert float(sum(chunks)) == pytest.approx(expected, rel=1e-12)


def test_the_threshold_itself_counts_as_confident() -> None:
    assignment = assignment_of(torch.tensor([0, 0]), torch.tensor([0.8, 0.8 - 1e-9], dtype=torch.float64))
    assert assignment.confident(0.8)["a"].tolist() == [True, False]


def test_only_confident_samples_have_a_gradient() -> None:
    logits = torch.zeros(3, 2, requires_grad=True)
    assignment = assignment_of(torch.tensor([0, 1, 0]), torch.tensor([0.9, 0.5, 0.85]))
    alignment_loss({"a": logits}, assignment).backward()
    expected = torch.tensor([[-0.5, 0.5], [0.0, 0.0], [-0.5, 0.5]]) / 3
    assert torch.allclose(logits.grad, expected)


def test_a_margin_moves_the_border() -> None:
    """The gradient at a distance d between two logits is the one without a margin at d - m."""
    assignment = assignment_of(torch.tensor([0, 1]), torch.ones(2))
    distance = torch.tensor([3.0, -3.0])  # both are 3 beyond the border, to their own class
    gradients = []
    for shift, margin in ((0.0, 2.0), (2.0, 0.0)):
        logits = torch.stack([distance - shift * distance.sign(), torch.zeros(2)], dim=1).requires_grad_()
        alignment_loss({"a": logits}, assignment, margin=margin, reduction="sum").backward()
        gradients.append(logits.grad)
    assert torch.allclose(*gradients)
    push = 1 / (1 + math.exp(3.0 - 2.0))
    assert torch.allclose(gradients[0], torch.tensor([[-push, push], [push, -push]]))


def test_smoothed_labels_have_their_minimum_at_their_own_shares() -> None:
    smoothing, classes = 0.3, 3
    shares = torch.full((1, classes), smoothing / classes)
    shares[0, 1] += 1 - smoothing
    logits = shares.log().requires_grad_()
    assignment = assignment_of(torch.tensor([1]), torch.ones(1))
    loss = alignment_loss({"a": logits}, assignment, label_smoothing=smoothing)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(-float((shares * shares.log()).sum()))  # their entropy
    assert torch.allclose(logits.grad, torch.zeros(1, classes), atol=1e-6)


def test_no_faces_give_a_zero_that_keeps_the_graph() -> None:
    weights = torch.ones(3, 2, requires_grad=True)
    logits = torch.zeros(0, 3) @ weights
    assignment = assign_targets({"a": logits.softmax(1)}, TargetDistribution({"a": {"x": 0.5, "y": 0.5}}))
    assert len(assignment) == 0
    loss = alignment_loss({"a": logits}, assignment)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert torch.equal(weights.grad, torch.zeros(3, 2))


def test_different_attributes_and_unknown_reductions_are_refused() -> None:
    assignment = assignment_of(torch.tensor([0]), torch.tensor([1.0]))
    with pytest.raises(ConfigurationError, match="same attributes"):
        alignment_loss({"b": torch.zeros(1, 2)}, assignment)
    with pytest.raises(ConfigurationError, match="'mean', 'sum' or 'none'"):
        alignment_loss({"a": torch.zeros(1, 2)}, assignment, reduction="max")
