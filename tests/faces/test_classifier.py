from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from fairlit.errors import CheckpointError, ConfigurationError
from fairlit.faces import AttributeClassifier, ClassifierConfig, CropSettings, Faces
from fairlit.faces.architectures import ARCHITECTURES, build_backbone
from fairlit.faces.classifier_files import read_classes

CLASSES = {"hat": ("none", "cap", "crown"), "mood": ("calm", "cross")}
TINY_VIT = {
    "model_type": "vit",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": 64,
    "patch_size": 16,
}
TINY = {"stages_repeats": [1, 1, 1], "stages_out_channels": [8, 16, 16, 32, 32]}


def tiny(**changes: Any) -> AttributeClassifier:
    torch.manual_seed(0)
    values: dict[str, Any] = {"architecture": "shufflenet_v2", "architecture_args": TINY, "input_size": 32, **changes}
    return AttributeClassifier(ClassifierConfig(CLASSES, **values))


def some_faces() -> Faces:
    boxes = torch.tensor([[2.0, 3.0, 30.0, 34.0], [10.0, 5.0, 38.0, 36.0]])
    landmarks = torch.tensor([[[10.0, 12.0], [22.0, 12.0], [16.0, 19.0], [11.0, 26.0], [21.0, 26.0]]] * 2)
    return Faces(torch.tensor([0, 1]), boxes, torch.ones(2), landmarks, 3)


def test_logits_have_a_column_for_each_class_in_order() -> None:
    classifier = tiny().eval()
    faces = torch.rand(4, 3, 32, 32)
    logits = classifier(faces)
    assert {name: rows.shape for name, rows in logits.items()} == {"hat": (4, 3), "mood": (4, 2)}
    features = classifier.features(faces)
    joined = features @ classifier.head.weight.T + classifier.head.bias
    torch.testing.assert_close(torch.cat([logits["hat"], logits["mood"]], dim=1), joined)


def test_normalisation_and_temperature() -> None:
    faces = torch.rand(2, 3, 32, 32)
    plain = tiny(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)).eval()
    scaled = tiny(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), temperature={"hat": 2.0}).eval()
    by_hand = plain(
        (faces - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / torch.tensor([0.5, 0.6, 0.7])[:, None, None]
    )
    logits = scaled(faces)
    torch.testing.assert_close(logits["hat"], by_hand["hat"] / 2)
    torch.testing.assert_close(logits["mood"], by_hand["mood"])


@pytest.mark.parametrize("kind", ["box", "aligned"])
def test_save_and_load_give_the_same_logits(kind: str, tmp_path: Path) -> None:
    classifier = tiny(crop=CropSettings(kind, 0.2), temperature={"mood": 1.5}).train()
    classifier(torch.rand(8, 3, 32, 32))  # moves the batch statistics
    classifier.eval().save(tmp_path / "saved")
    loaded = AttributeClassifier.load(tmp_path / "saved")
    assert loaded.config == classifier.config
    images, faces = torch.rand(3, 3, 40, 40), some_faces()
    ours, theirs = classifier.classify(images, faces), loaded.classify(images, faces)
    assert all(torch.equal(ours[name], theirs[name]) for name in CLASSES)
    assert read_classes(tmp_path / "saved") == CLASSES
    assert list(read_classes(tmp_path / "saved")) == list(CLASSES)


def test_loaded_is_frozen_whatever_its_owner_does(tmp_path: Path) -> None:
    tiny().save(tmp_path)
    owner = nn.ModuleList([AttributeClassifier.load(tmp_path)])
    owner.train()
    assert not any(module.training for module in owner[0].modules())
    assert not any(parameter.requires_grad for parameter in owner.parameters())
    assert AttributeClassifier.load(tmp_path, trainable=True).train().training


def test_gradients_reach_the_images(tmp_path: Path) -> None:
    tiny().save(tmp_path)
    classifier = AttributeClassifier.load(tmp_path)
    images = torch.rand(3, 3, 40, 40, requires_grad=True)
    logits = classifier.classify(images, some_faces())
    (gradient,) = torch.autograd.grad(logits["hat"].logsumexp(dim=1).sum(), images)
    assert bool((gradient[:2].abs().amax(dim=(1, 2, 3)) > 0).all())
    assert bool((gradient[2] == 0).all())


def test_no_face_is_ordinary() -> None:
    images = torch.rand(2, 3, 40, 40, requires_grad=True)
    logits = tiny().eval().classify(images, Faces.empty(2))
    assert logits["hat"].shape == (0, 3)
    (gradient,) = torch.autograd.grad(logits["hat"].sum(), images)
    assert bool((gradient == 0).all())


def test_faces_of_another_size_are_resized() -> None:
    classifier = tiny().eval()
    flat = torch.full((1, 3, 77, 77), 0.3)
    torch.testing.assert_close(classifier(flat)["hat"], classifier(flat[:, :, :32, :32])["hat"])


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_architecture_gives_features(name: str) -> None:
    arguments = {"shufflenet_v2": TINY, "transformers": TINY_VIT}.get(name, {})
    backbone, dim = build_backbone(name, arguments)
    assert backbone.eval()(torch.rand(2, 3, 64, 64)).shape == (2, dim)


def test_wrong_settings_are_all_named() -> None:
    with pytest.raises(ConfigurationError) as caught:
        ClassifierConfig(
            {"hat": ("one",), "mood": ("calm", "calm")},
            architecture="resnet18",
            architecture_args={"width_mult": 2},
            input_size=3,
            crop=CropSettings("round", -1.0),
            mean=(0.5, 0.5),
            std=(0.0, 1.0, 1.0),
            temperature={"age": 1.0, "hat": 0.0},
        )
    for part in ("'hat'", "'mood'", "width_mult", "input_size", "crop.kind", "crop.margin", "mean", "std", "'age'"):
        assert part in str(caught.value)


def test_unknown_architecture_and_refused_value_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"'vgg'.*mobilenet_v3_small"):
        ClassifierConfig(CLASSES, architecture="vgg")
    with pytest.raises(ConfigurationError, match="stages_repeats"):
        AttributeClassifier(
            ClassifierConfig(CLASSES, architecture="shufflenet_v2", architecture_args={"stages_repeats": [1]})
        )


def damaged(folder: Path, damage: str) -> None:
    config, weights = folder / "config.json", folder / "model.safetensors"
    values = json.loads(config.read_text())
    match damage:
        case "no config":
            config.unlink()
        case "corrupt config":
            config.write_text("{")
        case "config of another kind":
            config.write_text("[1]")
        case "no weights":
            weights.unlink()
        case "corrupt weights":
            weights.write_bytes(weights.read_bytes()[:100])
        case "missing tensor":
            tensors = load_file(weights)
            del tensors["head.bias"]
            save_file(tensors, weights)
        case "wrong shape":
            config.write_text(json.dumps(values | {"classes": {"hat": ["a", "b"]}, "temperature": {}}))
        case "unknown key":
            config.write_text(json.dumps(values | {"colour": 1}))
        case "wrong format":
            config.write_text(json.dumps(values | {"format": 7}))
        case "wrong type":
            config.write_text(json.dumps(values | {"crop": 3}))


@pytest.mark.parametrize(
    ("damage", "error", "words"),
    [
        ("no config", CheckpointError, "has no config.json"),
        ("corrupt config", CheckpointError, "cannot be read"),
        ("config of another kind", CheckpointError, "not a mapping"),
        ("no weights", CheckpointError, "do not exist"),
        ("corrupt weights", CheckpointError, "cannot be read"),
        ("missing tensor", CheckpointError, "head.bias"),
        ("wrong shape", CheckpointError, r"head.weight.*\[5, 32\] where \[2, 32\]"),
        ("unknown key", ConfigurationError, "colour"),
        ("wrong format", ConfigurationError, "format is 7"),
        ("wrong type", ConfigurationError, "wrong type"),
    ],
)
def test_damaged_folders_are_refused(damage: str, error: type[Exception], words: str, tmp_path: Path) -> None:
    tiny().save(tmp_path)
    damaged(tmp_path, damage)
    with pytest.raises(error, match=words):
        AttributeClassifier.load(tmp_path)


def test_classes_are_read_without_weights(tmp_path: Path) -> None:
    tiny().save(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    assert read_classes(tmp_path) == CLASSES


def test_interrupted_save_leaves_the_old_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny().save(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()

    def cut_off(tensors: object, path: Path, metadata: object) -> None:
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("fairlit.faces.classifier.save_file", cut_off)
    with pytest.raises(KeyboardInterrupt):
        tiny(input_size=48).save(tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert AttributeClassifier.load(tmp_path).config.input_size == 32


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", "..", " ", "gen\nder", "gen\x1bder", "caf\udce9", 3])
def test_attributes_whose_names_are_no_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="give attributes names of letters, digits and spaces"):
        ClassifierConfig({name: ("female", "male")}, "shufflenet_v2")


@pytest.mark.parametrize("name", ["fe\x00male", "fe\nmale", "\ud800", ".."])
def test_classes_whose_names_are_no_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="give names without control characters"):
        ClassifierConfig({"gender": (name, "male")}, "shufflenet_v2")


def test_class_names_of_the_field_are_names() -> None:
    names = ("0-2", "more than 70", "Latino_Hispanic", "White/Caucasian", "Straße", "61+")
    assert ClassifierConfig({"skin tone": names}, "shufflenet_v2").classes["skin tone"] == names


def test_a_config_that_is_nested_too_deeply_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match=r"config\.json' cannot be read"):
        ClassifierConfig.read(tmp_path)


@pytest.mark.parametrize("value", ["x", None, True])
def test_errors_of_calibration_are_numbers(value: object) -> None:
    entry = {"confusion": [[9, 1], [1, 9]], "ece_before": value, "ece_after": 0.1}
    with pytest.raises(ConfigurationError, match=r"'gender' cannot be read .*ece_before is"):
        ClassifierConfig({"gender": ("female", "male")}, "shufflenet_v2", validation={"gender": entry})  # type: ignore[dict-item]
