from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fairlit.errors import NotFiniteError
from fairlit.faces import AttributeClassifier, ClassifierConfig, Faces
from fairlit.faces.observation import Observation, observe

TINY = {"stages_repeats": [1, 1, 1], "stages_out_channels": [8, 16, 16, 32, 32]}


def some_faces() -> Faces:
    """Five images: one face in the second, two in the fourth."""
    boxes = torch.tensor([[4.0, 5.0, 20.0, 25.0], [1.0, 1.0, 9.0, 9.0], [6.0, 2.0, 28.0, 30.0]])
    return Faces(torch.tensor([1, 3, 3]), boxes, torch.ones(3), torch.zeros(3, 5, 2), 5)


def test_one_row_an_image_from_one_row_a_face() -> None:
    faces = some_faces().largest()
    probabilities = {"a": torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]]), "b": torch.tensor([[0.6, 0.4], [0.1, 0.9]])}
    seen = Observation(faces, probabilities)
    assert seen.has_face.tolist() == [False, True, False, True, False]
    assert {name: rows.tolist() for name, rows in seen.predictions.items()} == {
        "a": [-1, 1, -1, 0, -1],
        "b": [-1, 0, -1, 1, -1],
    }
    torch.testing.assert_close(seen.certainty["a"], torch.tensor([0.0, 0.7, 0.0, 0.5, 0.0]))
    torch.testing.assert_close(seen.certainty["b"], torch.tensor([0.0, 0.6, 0.0, 0.9, 0.0]))
    expected = torch.zeros(5, 4)
    expected[1], expected[3] = torch.tensor([4.0, 5.0, 20.0, 25.0]), torch.tensor([6.0, 2.0, 28.0, 30.0])
    torch.testing.assert_close(seen.boxes, expected)
    assert seen.spread(torch.ones(2, 4, dtype=torch.float16), 2.0).dtype == torch.float16


def test_no_face_anywhere() -> None:
    seen = Observation(Faces.empty(3), {"a": torch.zeros(0, 2)})
    assert seen.predictions["a"].tolist() == [-1, -1, -1]
    assert seen.certainty["a"].tolist() == [0, 0, 0]
    assert not seen.boxes.any()
    assert not seen.has_face.any()


class _Finder(torch.nn.Module):
    """Finds `some_faces` whatever it is shown."""

    def forward(self, images: Tensor) -> Faces:
        return some_faces()


def test_observe_classifies_the_largest_face_of_each_image() -> None:
    torch.manual_seed(0)
    config = ClassifierConfig({"a": ("x", "y", "z")}, "shufflenet_v2", TINY, 32)
    classifier = AttributeClassifier(config).freeze()
    images = torch.rand(5, 3, 32, 32, requires_grad=True)
    seen = observe(images, _Finder(), classifier)
    assert seen.faces.image_index.tolist() == [1, 3]
    alone = [
        classifier(classifier.crop(images, some_faces().select(torch.tensor([face]))))["a"].softmax(1)
        for face in (0, 2)
    ]
    torch.testing.assert_close(seen.probabilities["a"], torch.cat(alone).detach())
    assert not seen.probabilities["a"].requires_grad


def test_observe_classifies_every_face_the_largest_of_an_image_first() -> None:
    torch.manual_seed(0)
    config = ClassifierConfig({"a": ("x", "y", "z")}, "shufflenet_v2", TINY, 32)
    classifier = AttributeClassifier(config).freeze()
    images = torch.rand(5, 3, 32, 32)
    largest, everyone = observe(images, _Finder(), classifier), observe(images, _Finder(), classifier, selection="all")
    torch.testing.assert_close(everyone.faces.boxes, some_faces().boxes[[0, 2, 1]])  # the third box is the larger one
    alone = classifier(classifier.crop(images, some_faces().select(torch.tensor([1]))))["a"].softmax(1)
    torch.testing.assert_close(everyone.probabilities["a"][2:], alone)
    torch.testing.assert_close(everyone.probabilities["a"][:2], largest.probabilities["a"])
    torch.testing.assert_close(everyone.boxes, largest.boxes)
    torch.testing.assert_close(everyone.predictions["a"], largest.predictions["a"])


class _Overflowing(AttributeClassifier):
    """Gives NaN for the second face, as a network in half precision may."""

    def forward(self, faces: Tensor) -> dict[str, Tensor]:
        logits = super().forward(faces)
        logits["gender"][1] = torch.nan
        return logits


def test_what_is_not_finite_becomes_no_observation() -> None:
    torch.manual_seed(0)
    images = torch.rand(5, 3, 40, 40)
    classifier = _Overflowing(ClassifierConfig({"gender": ("female", "male")}, "shufflenet_v2", TINY, 32)).freeze()
    with pytest.raises(NotFiniteError, match="classifier: logits of 'gender': got NaN or infinity for 1 of 2"):
        observe(images, _Finder(), classifier)
    seen = observe(images, _Finder(), classifier, check=False)  # in training, where the step is skipped
    assert seen.probabilities["gender"].isnan().all(dim=1).tolist() == [False, True]
    for name in ("boxes", "scores"):
        values = {"boxes": some_faces().boxes, "scores": some_faces().scores}
        values[name] = values[name] * torch.nan
        found = replace(some_faces(), **values)
        with pytest.raises(NotFiniteError, match=f"face detector: {name}: got NaN"):
            observe(images, lambda images, found=found: found, classifier)
