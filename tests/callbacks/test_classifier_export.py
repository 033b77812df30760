from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from fairlit.callbacks import ClassifierExport
from fairlit.cli import main
from fairlit.errors import ConfigurationError
from fairlit.faces import AttributeClassifier

CONFIG = Path(__file__).parents[2] / "configs" / "classifier.yaml"


def write_faces(folder: Path) -> None:
    """Dark and bright squares, some of either in each split."""
    folder.mkdir()
    rows = []
    for number in range(8):
        Image.fromarray(np.full((32, 32, 3), 60 + 120 * (number % 2), np.uint8)).save(folder / f"{number}.png")
        split = "train" if number < 4 else "val"
        rows.append([f"{number}.png", split, ("female", "male")[number % 2], ("young", "old")[number % 2]])
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "split", "gender", "age"], *rows])


def test_the_shipped_config_ends_with_a_classifier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_faces(tmp_path / "faces")
    content = yaml.safe_load(CONFIG.read_text())
    content["trainer"] |= {"default_root_dir": str(tmp_path / "run"), "max_epochs": 1, "accelerator": "cpu"}
    content["trainer"] |= {"enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1}
    content["data"]["init_args"] |= {"folder": str(tmp_path / "faces"), "num_workers": 0, "image_size": 32}
    tiny = {"stages_repeats": [1, 1, 1], "stages_out_channels": [8, 16, 16, 32, 32]}
    content["model"]["init_args"] |= {"architecture": "shufflenet_v2", "architecture_args": tiny, "input_size": 32}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(content))
    main(["fit", "--config", str(config)])
    folder = tmp_path / "run" / "classifier"
    assert f"classifier  {folder}" in capsys.readouterr().out
    classifier = AttributeClassifier.load(folder)
    assert classifier.classes == {"gender": ("female", "male"), "age": ("young", "old")}
    assert (classifier.config.crop.kind, classifier.config.crop.margin) == ("box", 0.1)
    trained = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(classifier.head.weight, trained["classifier.head.weight"])


def test_other_modules_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match="ClassifierExport: got the model Linear; expected AttributeClassifierTrainer; leave"
    ):
        ClassifierExport().on_train_end(SimpleNamespace(default_root_dir=str(tmp_path)), torch.nn.Linear(1, 1))
