"""Several classifiers as one: the mean of their probabilities."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fairlit.errors import ConfigurationError
from fairlit.faces import AttributeClassifier, ClassifierConfig, Faces
from fairlit.faces.ensemble import ClassifierEnsemble

TINY = {"stages_repeats": [1, 1, 1], "stages_out_channels": [8, 16, 16, 32, 32]}
CLASSES = {"gender": ("female", "male"), "age": ("young", "old", "aged")}


def classifier(seed: int, size: int = 32, classes: dict[str, tuple[str, ...]] = CLASSES) -> AttributeClassifier:
    torch.manual_seed(seed)
    return AttributeClassifier(ClassifierConfig(classes, "shufflenet_v2", TINY, size)).freeze()


def faces_in(images: list[int]) -> Faces:
    boxes = torch.tensor([[8.0, 8.0, 40.0, 40.0]]).repeat(len(images), 1)
    return Faces(torch.tensor(images).long(), boxes, torch.ones(len(images)), torch.zeros(len(images), 5, 2), 3)


def mean_probabilities(parts: list[dict[str, Tensor]], name: str) -> Tensor:
    return sum(part[name].softmax(dim=1) for part in parts) / len(parts)


def test_probabilities_are_the_mean_of_those_of_the_members() -> None:
    members = [classifier(0), classifier(1, size=48), classifier(2)]
    ensemble = ClassifierEnsemble(members).freeze()
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(3), requires_grad=True)
    faces = faces_in([0, 2])
    found = ensemble.classify(images, faces)
    parts = [member.classify(images, faces) for member in members]
    for name, logits in found.items():
        torch.testing.assert_close(logits.softmax(dim=1), mean_probabilities(parts, name))
        torch.testing.assert_close(logits.exp().sum(dim=1), torch.ones(2))
    assert list(found) == list(CLASSES)
    assert torch.autograd.grad(found["gender"][:, 0].sum(), images)[0].abs().sum() > 0
    assert ensemble.members == tuple(members)
    assert (ensemble.size, ensemble.temperature) == (48, {"gender": 1.0, "age": 1.0})
    assert members[0].members == (members[0],)


def test_crops_of_another_size_are_resized_for_a_member() -> None:
    members = [classifier(0), classifier(1, size=48)]
    crops = torch.rand(2, 3, 48, 48)
    smaller = functional.interpolate(crops, size=(32, 32), mode="bilinear", antialias=True)
    parts = [members[0](smaller), members[1](crops)]
    found = ClassifierEnsemble(members)(crops)
    torch.testing.assert_close(found["age"].exp(), mean_probabilities(parts, "age"))


def test_nobody_s_face() -> None:
    found = ClassifierEnsemble([classifier(0), classifier(1)]).classify(torch.rand(3, 3, 64, 64), faces_in([]))
    assert {name: tuple(logits.shape) for name, logits in found.items()} == {"gender": (0, 2), "age": (0, 3)}


@pytest.mark.parametrize("other", [{"gender": ("male", "female"), "age": CLASSES["age"]}, {"gender": ("f", "m")}])
def test_members_know_the_same_classes(other: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(ConfigurationError, match="classifiers of different classes"):
        ClassifierEnsemble([classifier(0), classifier(1, classes=other)])
    with pytest.raises(ConfigurationError, match="got an empty list"):
        ClassifierEnsemble([])
