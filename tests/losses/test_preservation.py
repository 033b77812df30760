from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from fairlit.errors import ConfigurationError, Problems
from fairlit.functional.alignment.assignment import UNDECIDED, Assignment
from fairlit.losses import ImagePreservationLoss
from fairlit.losses.preservation import FaceChanges

LABELS = {"gender": torch.tensor([0, 1, 0, 1]), "race": torch.tensor([2, 2, 1, 0])}
REFERENCES = {"gender": torch.tensor([0, 0, 0, 1]), "race": torch.tensor([2, 3, 1, -1])}
# Images: nothing changes; both change in one of two faces, gender has the smaller factor; none; race, of a new face.
INDEX = torch.tensor([0, 1, 1, 3])
LAMBDAS = (1.0, 0.2, 0.2, 0.6)


def changes(boxes: Tensor | None = None, references: Tensor | None = None) -> FaceChanges:
    nowhere = torch.zeros(4, 4)
    return FaceChanges(
        INDEX, nowhere if boxes is None else boxes, nowhere if references is None else references, LABELS, REFERENCES
    )


def test_sum_over_encoders_and_images_by_a_loop() -> None:
    torch.manual_seed(0)
    raw = {name: torch.randn(2, 4, width, dtype=torch.float64) for name, width in (("clip", 5), ("dino", 9))}
    features = {name: normalize(pair[0], dim=-1) for name, pair in raw.items()}
    kept = {name: normalize(pair[1], dim=-1) for name, pair in raw.items()}
    loss = ImagePreservationLoss(8.0, {"gender": 0.2, "race": 0.6}, {"gender": 0.1, "race": 0.3})
    expected = sum(
        LAMBDAS[image] * (1 - float(cosine_similarity(pair[0, image], pair[1, image], dim=0)))
        for pair in raw.values()
        for image in range(4)
    )
    assert float(loss(features, kept, changes())) == pytest.approx(8 * expected)
    assert float(loss(kept, kept, changes())) == pytest.approx(0, abs=1e-12)


def test_faces_are_freed_by_face_gradient_scale() -> None:
    torch.manual_seed(0)
    images = torch.rand(4, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    boxes = torch.tensor([[1.0, 1.0, 6.0, 6.0]] * 4)
    references = torch.tensor([[3.0, 2.0, 8.0, 8.0]] * 3 + [[0.0, 0.0, 0.0, 0.0]])
    loss = ImagePreservationLoss(8.0, {"gender": 0.9, "race": 0.9}, {"gender": 0.3, "race": 0.1})
    free = loss.free_faces(images, changes(boxes, references))
    assert torch.equal(free, images)
    cotangent = torch.randn_like(images)
    (gradient,) = torch.autograd.grad(free, images, cotangent)
    expected = cotangent.clone()
    expected[1, :, 2:6, 3:6] *= 0.1  # the second image alone has a face that must change and was there before
    torch.testing.assert_close(gradient, expected, rtol=1e-7, atol=0)  # factors are float32


def test_labels_of_unsure_faces() -> None:
    assignment = Assignment(LABELS, {"gender": torch.tensor([0.9, 0.8, 0.79, 0.5]), "race": torch.ones(4)})
    kept = ImagePreservationLoss().settle(assignment, 0.8)
    freed = ImagePreservationLoss(unsure="change").settle(assignment, 0.8)
    assert kept == LABELS
    assert freed["gender"].tolist() == [0, 1, UNDECIDED, UNDECIDED]
    assert torch.equal(freed["race"], LABELS["race"])


def test_bad_settings_and_missing_factors() -> None:
    with pytest.raises(ConfigurationError) as caught:
        ImagePreservationLoss(-1.0, {"gender": 1.2}, {"race": -0.1}, unsure="free")  # type: ignore[arg-type]
    for part in (
        "4 problems",
        "unsure: got 'free'; choose change or keep",
        "weight: got -1.0",
        "image_loss_scale.gender: got 1.2",
        "face_gradient_scale.race: got -0.1",
    ):
        assert part in str(caught.value)
    problems = Problems("test")
    loss = ImagePreservationLoss(8.0, {"gender": 0.2, "more": 0.2}, {"gender": 0.2, "race": 0.2})
    loss.check({"gender": (), "race": (), "age": ()}, problems)
    assert len(problems.messages) == 2
    assert problems.messages[0].startswith("preservation.image_loss_scale: got nothing for race, age; expected")
    assert problems.messages[1].startswith("preservation.face_gradient_scale: got nothing for age; expected")
