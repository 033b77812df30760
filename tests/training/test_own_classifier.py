"""A user's run: faces in FairFace's layout, `fairlit fit`, and the classifier that comes out in a finetuning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from cli_runs import adaptors
from drawn_faces import write_celeba, write_fairface

from fairlit.cli import main
from fairlit.faces import AttributeClassifier

ROOT = Path(__file__).parents[2]
TINY = {"stages_repeats": [1, 1, 1], "stages_out_channels": [8, 16, 16, 32, 32]}
QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1}


def small(name: str, run: Path, folder: Path) -> dict[str, Any]:
    """A shipped classifier config with a tiny network, on other faces."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "configs" / name).read_text())
    content["trainer"] |= QUIET | {"default_root_dir": str(run), "max_epochs": 2}
    model = {"architecture": "shufflenet_v2", "architecture_args": TINY, "input_size": 32}
    content["model"]["init_args"] |= model | {"crop_kind": "box", "crop_margin": 0.2}
    data = {"folder": str(folder), "image_size": 32, "batch_size": 12, "num_workers": 0}
    content["data"]["init_args"] |= data
    return content


def write(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def test_from_faces_to_a_finetuned_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    faces = write_fairface(tmp_path / "faces", 120, 18)
    content = small("classifiers/fairface.yaml", tmp_path / "fairface", faces)
    content["trainer"]["max_epochs"] = 8  # finetuning refuses a classifier that has learnt nothing
    content["model"]["init_args"]["lr"] = 0.01
    config = write(tmp_path / "fairface.yaml", content)
    main(["fit", "--config", str(config)])
    printed = capsys.readouterr().out
    folder = tmp_path / "fairface" / "classifier"
    classifier = AttributeClassifier.load(folder)
    assert {name: len(names) for name, names in classifier.classes.items()} == {"gender": 2, "race": 4, "age": 2}
    for name, entry in classifier.config.validation.items():
        assert entry.samples == 18
        assert int(classifier.confusion[name].sum()) == 18
        assert f"ECE {entry.ece_before:.3f} -> {entry.ece_after:.3f}" in printed
    assert all(temperature != 1.0 for temperature in classifier.config.temperature.values())

    words = {"clip": "checkpoints/miniature/clip", "classes": {"gender": {"female": ["female"], "male": ["male"]}}}
    demo: dict[str, Any] = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text())
    del demo["trainer"]["callbacks"][0]  # the progress bar
    demo["trainer"] |= QUIET | {"default_root_dir": str(tmp_path / "run"), "max_steps": 2, "val_check_interval": 2}
    demo["model"]["init_args"]["models"] |= {
        "classifier": str(folder),
        "audit_classifier": str(write(tmp_path / "words.yaml", words)),
        "dino": None,
        "face_embedder": None,
        "face_bank": None,
    }
    demo["model"]["init_args"]["sampling"] |= {"min_steps": 2, "max_steps": 2, "evaluation_steps": 2}
    demo["model"]["init_args"]["alignment"] = {"threshold": 0.5}
    demo["data"]["init_args"] |= {"images_per_prompt": 4, "validation_images": 2, "validation_prompts": 1}
    main(["fit", "--config", str(write(tmp_path / "demo.yaml", demo))])
    trained = adaptors(tmp_path / "run")
    assert any(bool(tensor.any()) for name, tensor in trained.items() if "lora_B" in name or "up" in name)


def test_all_that_is_wrong_is_said_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    faces = write_fairface(tmp_path / "faces", 12, 6)
    (faces / "train" / "2.png").unlink()
    content = small("classifiers/fairface.yaml", tmp_path / "run", faces)
    content["data"]["init_args"]["classes"]["age"] = {"young": ["0-2", "3-9"], "old": ["10-19", "20-29"]}
    content["model"]["init_args"]["pretrained"] = str(tmp_path / "nowhere.pth")
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--config", str(write(tmp_path / "config.yaml", content))])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    for part in ("pretrained is", "nowhere.pth", "1 of 12 files do not exist", "2.png", "classes.age leaves out"):
        assert part in message
    assert not (tmp_path / "run").exists()


def test_celeba_s_config_fits_its_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    folder = write_celeba(tmp_path / "celeba", 30)
    config = write(tmp_path / "celeba.yaml", small("classifiers/celeba.yaml", tmp_path / "run", folder))
    main(["fit", "--config", str(config), "--trainer.max_epochs", "1"])
    classifier = AttributeClassifier.load(tmp_path / "run" / "classifier")
    assert classifier.classes == {"gender": ("female", "male"), "age": ("young", "old")}
    assert classifier.config.validation["age"].samples == 6
    assert torch.allclose(classifier.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))
