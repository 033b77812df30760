from __future__ import annotations

import pytest
import torch

from fairlit.errors import ConfigurationError
from fairlit.functional.alignment.assignment import Assignment, assign_targets
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.losses import AlignmentLoss


def test_sum_over_confident_samples_by_a_loop() -> None:
    torch.manual_seed(0)
    logits = {"a": torch.randn(6, 3, dtype=torch.float64), "b": torch.randn(6, 2, dtype=torch.float64)}
    labels = {"a": torch.tensor([0, 1, 2, 0, 1, 2]), "b": torch.tensor([1, 0, 1, 0, 1, 0])}
    confidence = {"a": torch.tensor([0.9, 0.5, 0.7, 0.69, 1.0, 0.0]), "b": torch.tensor([0.0, 0.8, 0.7, 0.9, 0.1, 0.2])}
    weights = torch.tensor([1.0, 0.5, 2.0, 1.0, 0.25, 1.0])
    expected = 0.0
    for name, rows in logits.items():
        for sample in range(6):
            if confidence[name][sample] >= 0.7:
                expected -= float(weights[sample]) * float(rows[sample].log_softmax(0)[labels[name][sample]])
    loss = AlignmentLoss(threshold=0.7, weight=2.5)(logits, Assignment(labels, confidence), weights)
    assert float(loss) == pytest.approx(2.5 * expected)


def test_margin_and_smoothing_reach_the_loss() -> None:
    torch.manual_seed(0)
    logits, assignment = torch.randn(4, 3), Assignment({"a": torch.tensor([0, 1, 2, 0])}, {"a": torch.ones(4)})
    lowered = logits - 1.5 * torch.eye(3)[assignment.labels["a"]]
    rows = lowered.log_softmax(1)
    each = 0.8 * rows.gather(1, assignment.labels["a"][:, None])[:, 0] + 0.2 * rows.mean(1)
    loss = AlignmentLoss(margin=1.5, label_smoothing=0.2)({"a": logits}, assignment, torch.ones(4))
    torch.testing.assert_close(loss, -each.sum())


def test_faces_count_alike_or_share_what_their_image_counts() -> None:
    counts = torch.tensor([2, 0, 1, 3])
    assert AlignmentLoss().face_weights(counts).tolist() == [1.0] * 6
    shared = AlignmentLoss(equal="image").face_weights(counts)
    torch.testing.assert_close(shared, torch.tensor([1 / 2, 1 / 2, 1, 1 / 3, 1 / 3, 1 / 3]))
    with pytest.raises(ConfigurationError, match="equal: got 'both'; choose face or image"):
        AlignmentLoss(equal="both")  # type: ignore[arg-type]


def test_assignment_follows_its_settings() -> None:
    torch.manual_seed(0)
    target = TargetDistribution({"a": {"x": 0.5, "y": 0.3, "z": 0.2}})
    probabilities = {"a": torch.rand(12, 3).softmax(1)}
    costs = {"a": {"z": {"x": 4.0}}}
    found = AlignmentLoss(draws=7, class_costs=costs).assign(probabilities, target, seed=3)
    expected = assign_targets(probabilities, target, draws=7, seed=3, class_costs=costs)
    torch.testing.assert_close(found.confidence, expected.confidence)
    other = AlignmentLoss(draws=7, class_costs=costs).assign(probabilities, target, seed=4)
    assert not torch.equal(other.confidence["a"], found.confidence["a"])


def test_bad_settings_are_refused_together() -> None:
    with pytest.raises(ConfigurationError) as caught:
        AlignmentLoss(threshold=1.5, draws=0, weight=-1, margin=-2, label_smoothing=1, crop_jitter=-0.1)
    parts = ("threshold: got 1.5", "draws: got 0", "weight: got -1", "margin: got -2", "label_smoothing: got 1")
    for part in ("alignment: 6 problems", *parts, "crop_jitter: got -0.1; expected a share"):
        assert part in str(caught.value)


def test_costs_of_unknown_classes_are_noticed_without_any_sample() -> None:
    from fairlit.errors import ConfigurationError, Problems
    from fairlit.functional import TargetDistribution

    loss = AlignmentLoss(class_costs={"age": {"old": {"infant": 2.0}}, "hair": {"long": {"short": 2.0}}})
    target = TargetDistribution({"age": {"young": 0.75, "old": 0.25}})
    with pytest.raises(ConfigurationError) as caught, Problems("config") as problems:
        loss.check(target, problems)
    assert "'infant'" in str(caught.value)
    assert "'hair'" in str(caught.value)
