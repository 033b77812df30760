from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models
from transformers import (
    BitImageProcessor,
    ConvNextConfig,
    ConvNextForImageClassification,
    SwiftFormerConfig,
    SwiftFormerForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    ViTModel,
)

from fairlit.cli import main
from fairlit.errors import CheckpointError, ConfigurationError
from fairlit.faces import AttributeClassifier, CropSettings, Faces, crop_faces
from fairlit.faces.classifier import crop_for
from fairlit.faces.importing import import_published, import_transformers

MERGED = {
    "age": {
        "young": ["0-2", "3-9", "10-19", "20-29", "30-39"],
        "old": ["40-49", "50-59", "60-69", "more than 70"],
    },
    "race": {
        "Asian": ["East Asian", "Southeast Asian"],
        "other": ["White", "Middle Eastern", "Latino_Hispanic", "Black", "Indian"],
    },
}
VIT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
LABELS = {"id2label": {0: "0-30", 1: "31-60", 2: "61+"}, "label2id": {"0-30": 0, "31-60": 1, "61+": 2}}


def published(folder: Path, network: nn.Module, path: str, rows: int) -> tuple[nn.Module, Path]:
    """The network as its makers have it, and the file that they publish."""
    torch.manual_seed(0)
    last = network.get_submodule(path)
    assert isinstance(last, nn.Linear)
    network.set_submodule(path, nn.Linear(last.in_features, rows))
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.uniform_(-0.1, 0.1)
    torch.save(network.state_dict(), folder / "published.pt")
    return network.eval(), folder / "published.pt"


def one_face(size: float) -> tuple[torch.Tensor, Faces]:
    landmarks = size * torch.tensor([[[0.35, 0.4], [0.65, 0.42], [0.5, 0.55], [0.4, 0.7], [0.62, 0.71]]])
    faces = Faces(torch.tensor([0]), size * torch.tensor([[0.2, 0.2, 0.8, 0.9]]), torch.ones(1), landmarks, 1)
    return torch.rand(1, 3, int(size), int(size)), faces


@torch.no_grad()
def test_the_published_classifier_of_shen_et_al(tmp_path: Path) -> None:
    network, file = published(tmp_path, models.mobilenet_v3_large(), "classifier.3", 8)
    main(["classifier", "import", "fair-diffusion", str(file), "--out", str(tmp_path / "native")])
    classifier = AttributeClassifier.load(tmp_path / "native")
    assert classifier.classes == {
        "gender": ("female", "male"),
        "race": ("WMELH", "Black", "Indian", "Asian"),
        "age": ("young", "old"),
    }
    images, faces = one_face(200.0)
    crop = crop_faces(images, faces, 224, margin=0.25)
    expected = network(2 * crop - 1)  # its pixels lie in [-1, 1]
    logits = classifier.classify(images, faces)
    for attribute, columns in (("gender", slice(0, 2)), ("race", slice(2, 6)), ("age", slice(6, 8))):
        torch.testing.assert_close(logits[attribute], expected[:, columns], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_fairface_with_merged_classes_adds_probabilities(tmp_path: Path) -> None:
    network, file = published(tmp_path, models.resnet34(), "fc", 18)
    (tmp_path / "classes.yaml").write_text(json.dumps(MERGED))
    arguments = ["fairface-7", str(file), "--out", str(tmp_path / "native")]
    main(["classifier", "import", *arguments, "--classes", str(tmp_path / "classes.yaml")])
    classifier = AttributeClassifier.load(tmp_path / "native")
    assert classifier.classes == {"age": ("young", "old"), "race": ("Asian", "other")}
    images, faces = one_face(200.0)
    mean, std = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    rows = network((classifier.crop(images, faces) - mean) / std)
    race, age = rows[:, :7].softmax(dim=1), rows[:, 9:].softmax(dim=1)
    logits = classifier.classify(images, faces)
    young = age[:, :5].sum(dim=1, keepdim=True)
    torch.testing.assert_close(logits["age"].softmax(dim=1), torch.cat([young, 1 - young], dim=1))
    asian = race[:, [3, 4]].sum(dim=1, keepdim=True)
    torch.testing.assert_close(logits["race"].softmax(dim=1), torch.cat([asian, 1 - asian], dim=1))


def test_fairface_faces_are_cut_as_dlib_cuts_them() -> None:
    """With padding p, dlib puts a point that lies at x in its mean face at (p + x) / (1 + 2 p) of the chip."""
    _, faces = one_face(200.0)
    marked = torch.zeros(1, 3, 200, 200)
    for x, y in faces.landmarks[0, :2].round().long().tolist():
        marked[:, :, y - 1 : y + 2, x - 1 : x + 2] = 1.0
    template = (
        ((0.1205750620789 + 0.3340850613712) / 2, 0.2213959),
        ((0.6460604764104 + 0.8595674595992) / 2, 0.2212335),
    )
    chip = crop_for(marked, faces, 300, crop=CropSettings("chip", 0.25))[0, 0]
    for x, y in template:
        column, row = (300 * (0.25 + share) / 1.5 for share in (x, y))
        near = chip[round(row) - 8 : round(row) + 8, round(column) - 8 : round(column) + 8]
        assert float(near.max()) > 0.9
    assert float(chip.sum()) == pytest.approx(2 * 9 * float((300 * 0.35025 / 60.13) ** 2), rel=0.15)


def test_files_of_other_networks_and_pickles_are_refused(tmp_path: Path) -> None:
    _, file = published(tmp_path, models.resnet18(), "fc", 18)
    with pytest.raises(CheckpointError, match=r"layer1\.0\.conv1|layer1\.2"):
        import_published(file, "fairface-7")
    _, file = published(tmp_path, models.resnet34(), "fc", 8)
    with pytest.raises(CheckpointError, match=r"fc\.weight.*\[8, 512\] where \[18, 512\]"):
        import_published(file, "fairface-7")

    class Malicious:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "was here"),)

    torch.save({"fc.weight": Malicious()}, file)
    with pytest.raises(CheckpointError, match="cannot be read"):
        import_published(file, "fairface-7")
    assert not (tmp_path / "was here").exists()


def test_classes_that_do_not_cover_the_labels_are_all_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {"race": {"some": ["White", "Blue"], "others": ["Black", "Indian"]}, "height": ["tall", "short"]}
    (tmp_path / "classes.yaml").write_text(json.dumps(wrong))
    arguments = ["fairface-4", "none.pt", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stopped:
        main(["classifier", "import", *arguments, "--classes", str(tmp_path / "classes.yaml")])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    for part in ("3 problems", "'height'", "leaves out 'Asian'", "names 'Blue'"):
        assert part in message
    assert not (tmp_path / "out").exists()


def test_what_is_missing_is_all_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["classifier", "import", "fairfase"])
    message = capsys.readouterr().err
    for part in ("3 problems", "kind: got 'fairfase'", "fairface-7", "source: got nothing", "out: got nothing"):
        assert part in message
    with pytest.raises(SystemExit):
        main(["classifier", "import", "transformers", "vit", "--out", "native"])
    assert "give --attribute" in capsys.readouterr().err


def test_the_actions_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    main(["classifier", "--help"])
    assert "calibrate" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["classifier", "calibrte", "words.yaml"])
    assert "did you mean calibrate?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["classifier"])
    assert "got nothing; expected import, crop or calibrate" in capsys.readouterr().err


def save_vit(folder: Path) -> ViTForImageClassification:
    torch.manual_seed(0)
    model = ViTForImageClassification(ViTConfig(**VIT, **LABELS, image_size=32, patch_size=8)).eval()
    model.save_pretrained(folder)
    processor = ViTImageProcessor(
        size={"height": 32, "width": 32}, image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6]
    )
    processor.save_pretrained(folder)
    return model


@torch.no_grad()
def test_a_transformers_folder(tmp_path: Path) -> None:
    model = save_vit(tmp_path / "vit")
    arguments = ["--attribute", "age", "--out", str(tmp_path / "native"), "--crop", "box", "--margin", "0.3"]
    main(["classifier", "import", "transformers", str(tmp_path / "vit"), *arguments])
    classifier = AttributeClassifier.load(tmp_path / "native")
    assert classifier.classes == {"age": ("0-30", "31-60", "61+")}
    images, faces = one_face(64.0)
    crop = crop_faces(images, faces, 32, margin=0.3)
    pixels = (crop - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / torch.tensor([0.4, 0.5, 0.6])[:, None, None]
    expected = model(pixel_values=pixels).logits
    torch.testing.assert_close(classifier.classify(images, faces)["age"], expected)
    assert classifier.classify(images, Faces.empty(1))["age"].shape == (0, 3)
    merged = import_transformers(tmp_path / "vit", "age", {"old": ["61+"], "young": ["31-60", "0-30"]})
    merged.save(tmp_path / "merged")
    again = AttributeClassifier.load(tmp_path / "merged")(crop)["age"].softmax(dim=1)
    torch.testing.assert_close(again, expected.softmax(dim=1)[:, [2, 0, 1]] @ torch.tensor([[1.0, 0], [0, 1], [0, 1]]))


def test_what_a_folder_holds_is_replaced_on_request_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_vit(tmp_path / "vit")
    out = tmp_path / "native"
    command = ["classifier", "import", "transformers", str(tmp_path / "vit"), "--attribute", "age", "--out", str(out)]
    main(command)
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(config | {"temperature": {"age": 2.0}}))  # as calibrating does

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in out.iterdir()}

    before = files()
    main(command)
    assert f"found    {out}: imported from the same source with the same settings before" in capsys.readouterr().out
    assert files() == before
    (out / "mine.txt").touch()
    main(command)
    (out / "mine.txt").unlink()
    ViTForImageClassification(ViTConfig(**VIT, **LABELS, image_size=32, patch_size=8)).save_pretrained(tmp_path / "new")
    for change, words in (
        (["--margin", "0.2"], "a classifier that was imported with margin 0.0, not 0.2; expected"),
        ([], "a classifier that was imported with another source than is there now; expected"),
    ):
        if not change:
            shutil.copy(tmp_path / "new" / "model.safetensors", tmp_path / "vit")
        with pytest.raises(SystemExit) as stopped:
            main([*command, *change])
        assert stopped.value.code == 2
        assert words in capsys.readouterr().err
        assert files() == before
    main([*command, "--overwrite"])
    assert AttributeClassifier.load(out).temperature == {"age": 1.0}
    main(command)
    (out / ".import.jsonl").unlink()  # as a folder that fairlit did not import
    with pytest.raises(SystemExit):
        main(command)
    assert f"out: got {out}, which holds config.json, not known to be of this import" in capsys.readouterr().err


def test_gradients_go_through_a_transformers_network(tmp_path: Path) -> None:
    save_vit(tmp_path)
    images, faces = one_face(64.0)
    images.requires_grad_()
    logits = import_transformers(tmp_path, "age").classify(images, faces)["age"]
    (gradient,) = torch.autograd.grad(logits[0, 0], images)
    assert float(gradient.abs().max()) > 0


def test_other_architectures_of_transformers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = ConvNextConfig(hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], num_labels=2, image_size=32)
    ConvNextForImageClassification(config).save_pretrained(tmp_path / "convnext")
    import_transformers(tmp_path / "convnext", "hat").save(tmp_path / "native")
    assert AttributeClassifier.load(tmp_path / "native").classes == {"hat": ("LABEL_0", "LABEL_1")}


def test_models_without_one_linear_head_are_refused(tmp_path: Path) -> None:
    ViTModel(ViTConfig(**VIT, image_size=32, patch_size=8)).save_pretrained(tmp_path / "headless")
    with pytest.raises(CheckpointError, match=r"lack 'classifier"):
        import_transformers(tmp_path / "headless", "age")
    with pytest.raises(CheckpointError, match=r"no readable config\.json"):
        import_transformers(tmp_path / "nowhere", "age")
    small = {"depths": [1, 1], "embed_dims": [8, 8], "downsamples": [True, True], "image_size": 32}
    SwiftFormerForImageClassification(SwiftFormerConfig(**small, num_labels=2)).save_pretrained(tmp_path / "two_heads")
    with pytest.raises(ConfigurationError, match="more than one linear layer"):
        import_transformers(tmp_path / "two_heads", "age")


@torch.no_grad()
@pytest.mark.parametrize(
    "switched",
    [
        {"do_normalize": False},
        {"do_rescale": False},
        {"rescale_factor": 1 / 127.5},
        {"do_normalize": False, "rescale_factor": 2 / 255},
    ],
)
def test_what_a_processor_switches_off_is_left_away(switched: dict[str, Any], tmp_path: Path) -> None:
    model = save_vit(tmp_path / "vit")
    processor = ViTImageProcessor(
        size={"height": 32, "width": 32}, image_mean=[0.3] * 3, image_std=[0.6] * 3, **switched
    )
    processor.save_pretrained(tmp_path / "vit")
    pictures = torch.randint(0, 256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    expected = model(**processor(list(pictures), return_tensors="pt", input_data_format="channels_first")).logits
    found = import_transformers(tmp_path / "vit", "age")(pictures.float() / 255)["age"]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_a_central_crop_makes_the_margin_smaller(tmp_path: Path) -> None:
    model = save_vit(tmp_path / "vit")
    sides = {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}}
    processor = BitImageProcessor(**sides, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    processor.save_pretrained(tmp_path / "vit")
    classifier = import_transformers(tmp_path / "vit", "age", crop=CropSettings("box", 0.25))
    assert classifier.config.crop.margin == pytest.approx((1.5 * 0.8 - 1) / 2)
    coarse = torch.rand(1, 3, 10, 10, generator=torch.Generator().manual_seed(0))
    images = torch.nn.functional.interpolate(coarse, size=(200, 200), mode="bicubic").clamp(0, 1)
    _, faces = one_face(200.0)
    cut = (crop_faces(images, faces, 40, margin=0.25) * 255).round().to(torch.uint8)  # as the model's makers cut it
    pixels = processor(list(cut), return_tensors="pt", input_data_format="channels_first")["pixel_values"]
    assert float((classifier.crop(images, faces) * 2 - 1 - pixels).abs().mean()) < 0.01
    torch.testing.assert_close(
        classifier.classify(images, faces)["age"], model(pixel_values=pixels).logits, rtol=0.05, atol=0.02
    )


@pytest.mark.parametrize("kind", ["multi_label_classification", "regression"])
def test_labels_that_do_not_exclude_each_other_are_refused_before_weights(kind: str, tmp_path: Path) -> None:
    save_vit(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    config = json.loads((tmp_path / "config.json").read_text()) | {"problem_type": kind}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigurationError, match=f"problem_type '{kind}'.*exclude each other"):
        import_transformers(tmp_path, "age")
