"""No gradient of one face inside of another's box."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fairlit.faces import AttributeClassifier, ClassifierConfig, Faces
from fairlit.faces.classifier_config import CropSettings
from fairlit.faces.shielding import shield_neighbours

TINY = {"stages_repeats": [1, 1, 1], "stages_out_channels": [8, 16, 16, 32, 32]}


def faces_at(*boxes: tuple[int, list[float]], images: int = 1) -> Faces:
    count = len(boxes)
    return Faces(
        torch.tensor([image for image, _ in boxes]).long(),
        torch.tensor([box for _, box in boxes]).view(-1, 4),
        torch.ones(count),
        torch.zeros(count, 5, 2),
        images,
    )


@pytest.fixture
def classifier() -> AttributeClassifier:
    torch.manual_seed(0)
    config = ClassifierConfig({"a": ("x", "y")}, "shufflenet_v2", TINY, 32, CropSettings(margin=0.5))
    return AttributeClassifier(config).freeze().double()


def slopes(classifier: AttributeClassifier, images: Tensor, faces: Faces, face: int) -> tuple[Tensor, Tensor]:
    """Logits, and the gradient of one face's first logit with respect to the images."""
    leaf = images.clone().requires_grad_()
    logits = classifier.classify(*shield_neighbours(leaf, faces))["a"]
    return logits.detach(), torch.autograd.grad(logits[face, 0], leaf)[0]


def test_gradients_do_not_leak_into_a_neighbour(classifier: AttributeClassifier) -> None:
    """Two faces side by side, whose crops with their margins show half of each other; a third in another image."""
    faces = faces_at(
        (0, [8.0, 10.0, 28.0, 34.0]), (0, [30.0, 10.0, 50.0, 34.0]), (1, [30.0, 10.0, 50.0, 34.0]), images=2
    )
    images = torch.rand(2, 3, 48, 64, dtype=torch.float64)
    plain = classifier.classify(images, faces)["a"]
    leaf = images.clone().requires_grad_()
    leaking = torch.autograd.grad(classifier.classify(leaf, faces)["a"][0, 0], leaf)[0]
    logits, gradient = slopes(classifier, images, faces, 0)
    assert torch.equal(logits, plain)  # what is seen stays the same
    assert leaking[0, :, 10:34, 30:50].any()
    assert not gradient[0, :, 10:34, 30:50].any()
    outside = torch.ones(48, 64, dtype=torch.bool)
    outside[10:34, 30:50] = False
    torch.testing.assert_close(gradient[0][:, outside], leaking[0][:, outside])
    assert gradient[0, :, 10:34, 8:28].any()
    assert not gradient[1].any()


def test_one_face_an_image_is_left_alone(classifier: AttributeClassifier) -> None:
    faces = faces_at((0, [8.0, 10.0, 28.0, 34.0]), (1, [30.0, 10.0, 50.0, 34.0]), images=3)
    images = torch.rand(3, 3, 48, 64, dtype=torch.float64)
    leaf = images.clone().requires_grad_()
    expected = torch.autograd.grad(classifier.classify(leaf, faces)["a"][1, 0], leaf)[0]
    _, gradient = slopes(classifier, images, faces, 1)
    assert torch.equal(gradient, expected)


def test_a_face_keeps_its_own_box_where_another_overlaps_it(classifier: AttributeClassifier) -> None:
    faces = faces_at((0, [8.0, 10.0, 32.0, 38.0]), (0, [24.0, 10.0, 48.0, 38.0]))
    _, gradient = slopes(classifier, torch.rand(1, 3, 48, 64, dtype=torch.float64), faces, 0)
    assert gradient[0, :, 10:38, 24:32].any()  # in both boxes
    assert not gradient[0, :, 10:38, 32:48].any()


@pytest.mark.parametrize(
    "boxes",
    [
        [],
        [(0, [20.0, 20.0, 21.0, 21.0]), (0, [22.0, 20.0, 40.0, 40.0])],  # one pixel
        [(0, [0.0, 0.0, 20.0, 20.0]), (0, [44.0, 28.0, 64.0, 48.0])],  # at the border
        [(1, [6.0 * n, 4.0, 6.0 * n + 8, 14.0]) for n in range(9)] + [(1, [20.0, 20.0, 40.0, 40.0])],  # ten
    ],
)
def test_odd_boxes_give_finite_gradients(classifier: AttributeClassifier, boxes: list[tuple[int, list[float]]]) -> None:
    faces = faces_at(*boxes, images=3)
    leaf = torch.rand(3, 3, 48, 64, dtype=torch.float64, requires_grad=True)
    images, alone = shield_neighbours(leaf, faces)
    assert images.shape == (len(boxes), 3, 48, 64)
    assert alone.image_index.tolist() == list(range(len(boxes)))
    (gradient,) = torch.autograd.grad(classifier.classify(images, alone)["a"].sum(), leaf)
    assert gradient.isfinite().all()
    assert bool(gradient.any()) == bool(boxes)
