from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.cli import LightningCLI
from PIL import Image
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from torchvision import models

from fairlit.data.faces.datamodule import UNLABELLED
from fairlit.data.faces.labelled_folders import LabelledFaces
from fairlit.errors import CheckpointError, ConfigurationError, NotFiniteError
from fairlit.faces import AttributeClassifier
from fairlit.training.classifiers.trainer import AttributeClassifierTrainer

CLASSES = {"tint": ["red", "green", "blue"], "half": ["top", "bottom"]}
TINY = {"stages_repeats": [1, 1, 1], "stages_out_channels": [8, 16, 16, 32, 32]}


def tiny(**changes: Any) -> AttributeClassifierTrainer:
    torch.manual_seed(0)
    values: dict[str, Any] = {
        "classes": CLASSES,
        "architecture": "shufflenet_v2",
        "architecture_args": TINY,
        "input_size": 32,
        "crop_margin": 0.1,
        **changes,
    }
    return AttributeClassifierTrainer(**values)


def quiet_trainer(**changes: Any) -> lightning.Trainer:
    values: dict[str, Any] = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        **changes,
    }
    return lightning.Trainer(**values)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures whose tint and brighter half are their labels."""
    generator = np.random.default_rng(0)
    rows = []
    for index in range(240):
        tint, half = index % 3, index // 3 % 2
        picture = generator.integers(0, 90, (32, 32, 3))
        picture[:, :, tint] += 80
        picture[16 * half : 16 * half + 16] += 80
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(tmp_path / f"{index}.png")
        split = ("train", "train", "train", "val")[index % 4]
        rows.append([f"{index}.png", split, CLASSES["tint"][tint], CLASSES["half"][half]])
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "split", *CLASSES], *rows])
    return tmp_path


def test_learns_labels_and_exports_what_it_learned(folder: Path, tmp_path: Path) -> None:
    module = tiny(lr=1e-2)
    data = LabelledFaces(str(folder), CLASSES, image_size=32, batch_size=16, augmentation=0.3, cache=True)
    trainer = quiet_trainer(max_epochs=8)
    trainer.fit(module, data)
    assert trainer.callback_metrics["val/accuracy_tint"] >= 0.9
    assert trainer.callback_metrics["val/accuracy_half"] >= 0.9
    module.export(tmp_path / "exported")
    loaded = AttributeClassifier.load(tmp_path / "exported")
    assert loaded.classes == {name: tuple(names) for name, names in CLASSES.items()}
    assert loaded.config.crop.margin == 0.1
    faces = torch.rand(3, 3, 32, 32)
    assert torch.equal(loaded(faces)["tint"], module.eval()(faces)["tint"])


def test_data_whose_labels_mean_something_else_are_refused(folder: Path) -> None:
    swapped = {**CLASSES, "half": ["bottom", "top"]}
    with pytest.raises(ConfigurationError, match=r"data\.classes"):
        quiet_trainer(max_epochs=1).fit(tiny(), LabelledFaces(str(folder), swapped, image_size=32))


def test_lightning_cli_builds_and_trains_it(folder: Path) -> None:
    arguments = {
        "model": {
            "class_path": "fairlit.training.classifiers.trainer.AttributeClassifierTrainer",
            "init_args": {
                "classes": CLASSES,
                "architecture": "shufflenet_v2",
                "architecture_args": TINY,
                "input_size": 32,
            },
        },
        "data": {
            "class_path": "fairlit.data.faces.labelled_folders.LabelledFaces",
            "init_args": {"folder": str(folder), "classes": CLASSES, "image_size": 32, "batch_size": 60},
        },
        "trainer": {"max_steps": 2, "accelerator": "cpu", "logger": False, "enable_checkpointing": False},
    }
    cli = LightningCLI(
        lightning.LightningModule,
        lightning.LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        auto_configure_optimizers=False,
        save_config_callback=None,
        run=False,
        args=arguments,
    )
    cli.trainer.fit(cli.model, cli.datamodule)
    assert cli.trainer.global_step == 2


def test_loss_is_the_sum_of_cross_entropies_over_what_is_labelled() -> None:
    module = tiny(label_smoothing=0.1, class_weights={"tint": {"blue": 3.0}})
    logits = {"tint": torch.randn(4, 3), "half": torch.randn(4, 2)}
    labels = torch.tensor([[0, 1], [2, UNLABELLED], [UNLABELLED, 0], [2, UNLABELLED]])
    weight = torch.tensor([1.0, 1.0, 3.0])
    expected = cross_entropy(logits["tint"][[0, 1, 3]], labels[[0, 1, 3], 0], weight, label_smoothing=0.1)
    expected = expected + cross_entropy(logits["half"][[0, 2]], labels[[0, 2], 1], label_smoothing=0.1)
    torch.testing.assert_close(module.loss(logits, labels), expected)
    nobody = torch.full((4, 2), UNLABELLED)
    assert module.loss(logits, nobody) == 0.0


def test_answers_that_are_not_finite_have_no_accuracy() -> None:
    module = tiny()
    with torch.no_grad():
        module.classifier.head.bias[0] = torch.nan
    with pytest.raises(NotFiniteError, match="classifier: logits of 'tint': got NaN or infinity for 2 of 2"):
        module.validation_step((torch.rand(2, 3, 32, 32), torch.zeros(2, 2, dtype=torch.long)), 0)


def test_rate_rises_then_falls_to_zero() -> None:
    class Recorder(lightning.Callback):
        rates: list[float]

        def __init__(self) -> None:
            self.rates = []

        def on_train_batch_start(self, trainer: lightning.Trainer, *rest: object) -> None:
            self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    recorder = Recorder()
    dataset = TensorDataset(torch.rand(20, 3, 32, 32), torch.zeros(20, 2, dtype=torch.long))
    module = tiny(lr=0.1, warmup=0.2)
    quiet_trainer(max_epochs=2, callbacks=[recorder], limit_val_batches=0).fit(
        module, DataLoader(dataset, batch_size=2)
    )
    assert len(recorder.rates) == 20
    assert recorder.rates[:4] == pytest.approx([0.025, 0.05, 0.075, 0.1])
    assert recorder.rates[4:] == sorted(recorder.rates[4:], reverse=True)
    assert recorder.rates[-1] < 0.002


def test_biases_and_norms_are_not_decayed() -> None:
    module = tiny(weight_decay=0.5)
    trainer = quiet_trainer(max_epochs=1, limit_val_batches=0)
    dataset = TensorDataset(torch.rand(4, 3, 32, 32), torch.zeros(4, 2, dtype=torch.long))
    trainer.fit(module, DataLoader(dataset, batch_size=4))
    decayed, free = trainer.optimizers[0].param_groups
    assert decayed["weight_decay"] == 0.5
    assert free["weight_decay"] == 0.0
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert len(decayed["params"]) + len(free["params"]) == len(list(module.parameters()))


def test_wrong_settings_are_refused_with_their_names() -> None:
    with pytest.raises(ConfigurationError) as caught:
        tiny(
            lr=0.0,
            weight_decay=-1.0,
            label_smoothing=1.0,
            warmup=2.0,
            norm_momentum=-0.1,
            class_weights={"tint": {"pink": 1.0}},
        )
    for name in ("lr", "weight_decay", "label_smoothing", "warmup", "norm_momentum", "tint.pink"):
        assert name in str(caught.value)
    with pytest.raises(ConfigurationError, match="architecture"):
        tiny(architecture="vgg")


def test_training_starts_from_a_file_of_the_same_network(folder: Path, tmp_path: Path) -> None:
    network = models.resnet18()
    torch.save(network.state_dict(), tmp_path / "imagenet.pth")
    changes = {"architecture": "resnet18", "architecture_args": {}, "pretrained": str(tmp_path / "imagenet.pth")}
    module = tiny(**changes)
    trainer = quiet_trainer(max_epochs=1, limit_train_batches=0, limit_val_batches=0)
    trainer.fit(module, LabelledFaces(str(folder), CLASSES, image_size=32))
    assert torch.equal(module.classifier.backbone.conv1.weight, network.conv1.weight)
    torch.save(models.resnet34().state_dict(), tmp_path / "imagenet.pth")
    with pytest.raises(CheckpointError, match=r"layer\d\.\d"):
        trainer.fit(tiny(**changes), LabelledFaces(str(folder), CLASSES, image_size=32))


def test_nothing_is_downloaded_unless_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = models.mobilenet_v3_large().state_dict()
    asked: list[dict[str, Any]] = []

    def fetch(entry: object, **settings: Any) -> dict[str, Tensor]:
        asked.append(settings)
        return fetched

    monkeypatch.setattr(models.MobileNet_V3_Large_Weights, "get_state_dict", fetch)
    data = LabelledFaces(str(folder), CLASSES, image_size=32)
    for pretrained in (None, "download"):
        module = tiny(architecture="mobilenet_v3_large", architecture_args={}, pretrained=pretrained)
        trainer = quiet_trainer(max_epochs=1, limit_train_batches=0, limit_val_batches=0)
        trainer.fit(module, data)
        assert bool(asked) == (pretrained == "download")
    name = "features.0.0.weight"
    assert torch.equal(module.classifier.backbone.state_dict()[name], fetched[name])
    with pytest.raises(ConfigurationError, match=r"pretrained is 'download', which .* mobilenet_v3_large"):
        trainer.fit(tiny(pretrained="download"), data)


def test_balanced_weights_give_every_class_the_same_mass(folder: Path) -> None:
    rows = (folder / "labels.csv").read_text().splitlines()
    (folder / "labels.csv").write_text("\n".join([rows[0], *rows[1:100], *[r for r in rows[100:] if "red" in r]]))
    module, data = tiny(class_weights="balanced"), LabelledFaces(str(folder), CLASSES, image_size=32)
    quiet_trainer(max_epochs=1, limit_train_batches=0, limit_val_batches=0).fit(module, data)
    counts = data.class_counts("train")["tint"]
    weights = module.get_buffer("class_weights_0").tolist()
    masses = [weight * count for weight, count in zip(weights, counts.values(), strict=True)]
    assert counts["red"] > 2 * counts["blue"]
    assert masses == pytest.approx([sum(counts.values()) / 3] * 3)
    with pytest.raises(ConfigurationError, match="'equal'"):
        tiny(class_weights="equal")
