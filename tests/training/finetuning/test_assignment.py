"""Assignment of a whole batch: order, missing faces, logged figures."""

from __future__ import annotations

import pytest
import torch

from fairlit.faces import Faces
from fairlit.faces.observation import Observation
from fairlit.functional import TargetDistribution, assign_targets
from fairlit.losses import AlignmentLoss
from fairlit.training.finetuning.assignment import assign_over_ranks

TARGET = TargetDistribution({"gender": {"female": 0.5, "male": 0.5}})


def observation(images: int, where: list[int], male: list[float]) -> Observation:
    faces = Faces(
        torch.tensor(where, dtype=torch.long),
        torch.tensor([[1.0, 1.0, 9.0, 9.0]]).repeat(len(where), 1),
        torch.ones(len(where)),
        torch.zeros(len(where), 5, 2),
        images,
    )
    p = torch.tensor(male).reshape(-1)
    other = torch.full((len(where), 3), 1 / 3)  # an attribute without a target
    return Observation(faces, {"gender": torch.stack([1 - p, p], dim=1), "hair": other})


def test_images_without_a_face_have_no_label_and_do_not_shift_the_others() -> None:
    male = [0.9, 0.2, 0.8, 0.6]
    seen = observation(6, [0, 2, 3, 5], male)
    target_labels, logs = assign_over_ranks(seen, TARGET, 6, alignment=AlignmentLoss(), seed=0)
    direct = assign_targets({"gender": seen.probabilities["gender"]}, TARGET)
    assert torch.equal(target_labels.labels["gender"], direct.labels["gender"])
    assert torch.equal(target_labels.confidence["gender"], direct.confidence["gender"])
    assert target_labels.weights.tolist() == [1.0] * 4
    assert (target_labels.num_images, target_labels.total_weight, target_labels.scale) == (6, 4.0, 1.0)
    assert logs["faces/missing"] == pytest.approx(2 / 6)
    assert logs["bias/gender"] == pytest.approx(abs(3 - 1) / 4)  # three of four are perceived as male
    share = sum(confidence >= 0.8 for confidence in direct.confidence["gender"].tolist()) / 4
    assert logs["faces/confident_target"] == pytest.approx(share)
    assert "bias/joint" not in logs


def test_no_face_at_all() -> None:
    target_labels, logs = assign_over_ranks(observation(3, [], []), TARGET, 3, alignment=AlignmentLoss(), seed=0)
    assert target_labels.labels["gender"].tolist() == target_labels.weights.tolist() == []
    assert target_labels.total_weight == 0
    assert logs == {"faces/missing": 1.0}


def test_every_face_of_an_image_is_a_sample() -> None:
    male = [0.9, 0.2, 0.8, 0.6, 0.7, 0.3]
    seen = observation(5, [0, 0, 0, 2, 4, 4], male)
    target_labels, logs = assign_over_ranks(seen, TARGET, 5, alignment=AlignmentLoss(equal="image"), seed=0)
    direct = assign_targets({"gender": seen.probabilities["gender"]}, TARGET)
    assert torch.equal(target_labels.labels["gender"], direct.labels["gender"])
    torch.testing.assert_close(target_labels.weights, torch.tensor([1 / 3, 1 / 3, 1 / 3, 1, 1 / 2, 1 / 2]))
    assert target_labels.total_weight == pytest.approx(3)  # images with a face
    assert logs["faces/per_image"] == pytest.approx(6 / 5)
    assert logs["faces/missing"] == pytest.approx(2 / 5)


def test_joint_bias_is_over_the_product_of_the_classes() -> None:
    target = TargetDistribution({"gender": {"f": 0.5, "m": 0.5}, "hair": {"a": 0.5, "b": 0.25, "c": 0.25}})
    seen = observation(2, [0, 1], [0.9, 0.9])  # both (male, first hair): one joint class of six has everything
    _, logs = assign_over_ranks(seen, target, 2, alignment=AlignmentLoss(), seed=0)
    pairs = 6 * 5 / 2
    assert logs["bias/joint"] == pytest.approx(5 / pairs)
    assert logs["bias/hair"] == pytest.approx(2 / 3)


def test_the_distance_is_logged_where_the_target_is_not_uniform() -> None:
    target = TargetDistribution({"gender": {"f": 0.5, "m": 0.5}, "hair": {"a": 0.5, "b": 0.25, "c": 0.25}})
    seen = observation(2, [0, 1], [0.9, 0.9])  # both (male, first hair)
    _, logs = assign_over_ranks(seen, target, 2, alignment=AlignmentLoss(), seed=0)
    assert "tv/gender" not in logs
    assert logs["tv/hair"] == pytest.approx(1 - 0.5)
    assert logs["tv/joint"] == pytest.approx(1 - 0.5 * 0.5)


def test_of_a_prompt_that_names_a_class_its_share_is_logged() -> None:
    seen = observation(4, [0, 1, 2, 3], [0.9, 0.8, 0.2, 0.6])
    target_labels, logs = assign_over_ranks(seen, TARGET.given("gender", "male"), 4, alignment=AlignmentLoss(), seed=0)
    assert target_labels.labels["gender"].tolist() == [1] * 4
    assert target_labels.confidence["gender"].tolist() == [1.0] * 4
    assert logs["obeyed/gender"] == pytest.approx(3 / 4)
    assert not {"bias/gender", "tv/gender"} & logs.keys()


def test_faces_are_assigned_to_what_a_classifier_with_errors_sees_of_the_target() -> None:
    """It takes a fifth of the women for men: of ten faces at the target it sees four women, not five."""
    seen = observation(10, list(range(10)), [0.05 + 0.1 * face for face in range(10)])
    confusions = {"gender": torch.tensor([[40, 10], [0, 50]])}
    settings = AlignmentLoss(correct_errors=True)
    labels, logs = assign_over_ranks(seen, TARGET, 10, alignment=settings, seed=0, confusions=confusions)
    assert labels.labels["gender"].tolist() == [0] * 4 + [1] * 6
    usual, usual_logs = assign_over_ranks(seen, TARGET, 10, alignment=AlignmentLoss(), seed=0, confusions=confusions)
    assert usual.labels["gender"].tolist() == [0] * 5 + [1] * 5
    assert logs["bias/gender"] == usual_logs["bias/gender"]
    assert "tv/gender" not in logs  # figures are of the target itself


def test_an_overflow_leaves_the_labels_of_other_faces_sound() -> None:
    """A face of which the classifier says NaN is as likely to be one as the other; it is no error."""
    seen = observation(4, [0, 1, 2, 3], [0.9, torch.nan, 0.2, 0.8])
    target_labels, logs = assign_over_ranks(seen, TARGET, 4, alignment=AlignmentLoss(), seed=0)
    direct = assign_targets(
        {"gender": observation(4, [0, 1, 2, 3], [0.9, 0.5, 0.2, 0.8]).probabilities["gender"]}, TARGET
    )
    assert torch.equal(target_labels.labels["gender"], direct.labels["gender"])
    assert torch.equal(target_labels.confidence["gender"], direct.confidence["gender"])
    assert target_labels.total_weight == 4
    assert logs["faces/missing"] == 0
