"""`fairlit fit --dry_run`: what it says, what it refuses, and that its figures are those of the real run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from cli_runs import variant
from diffusers import StableDiffusionPipeline
from tiny_xl import build_tiny_xl

from fairlit.adaptors import Lora
from fairlit.cli import main
from fairlit.faces import AttributeClassifier

CONFIGS = Path(__file__).parents[3] / "configs"
MODELS = "model.init_args.models"


class Disk(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("weights were loaded")

    for owner, name in ((StableDiffusionPipeline, "from_pretrained"), (AttributeClassifier, "load")):
        monkeypatch.setattr(owner, name, load)


def dry_run(config: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr."""
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--config", str(config), *arguments, "--dry_run"])
    printed = capsys.readouterr()
    assert isinstance(stopped.value.code, int)
    return stopped.value.code, printed.out, printed.err


def test_a_good_config_is_described_and_nothing_else_happens(
    tiny_config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tiny_pipeline: StableDiffusionPipeline,
    no_weights: None,
) -> None:
    adaptor, count = Lora(rank=2, text_encoder=True, unet=True), {"text_encoder": 0, "unet": 0}
    adaptor.attach(tiny_pipeline)
    for name, parameter in adaptor.parameters().items():
        count[name.split(".")[0]] += parameter.numel()
    changes = {"trainer.accumulate_grad_batches": 2, f"{MODELS}.dino": "nobody/has-this-model"}
    status, printed, _ = dry_run(variant(tiny_config, tmp_path / "run", changes), capsys)
    assert status == 0
    for part in (
        f"Lora, parameters: {count['text_encoder']:,} in the text encoder and {count['unet']:,} in the U-Net",
        "images      10 a step: 5 of a prompt, 5 at most in each process, 2 to 3 solver steps",
        "prompts     2 train, 2 val, 2 test; families: people",
        "target      {gender: {female: 0.5, male: 0.5}}",
        "steps       4 of the optimiser, batches each: 2, processes: 1, precision 32-true",
        "memory      about ",
        "An estimate",
        "2 numbers of the optimiser for each",  # AdamW's moments
        "not counted: what DINO nobody/has-this-model computes (not on this machine)",
    ):
        assert part in printed, printed
    assert not (tmp_path / "run").exists()


def test_all_problems_come_together(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Disk(100, 99, 1))
    changes = {
        "trainer.precision": "bf16-true",
        "trainer.devices": 8,
        "data.init_args.target": {"gender": {"female": 0.5, "man": 0.5}},
        f"{MODELS}.clip": "./nowhere",
        "data.init_args.prompts": "no/prompts.yaml",
    }
    status, printed, message = dry_run(variant(tiny_config, tmp_path / "run", changes), capsys)
    assert status == 2
    assert "Nothing is wrong" not in printed
    for part in ("no/prompts.yaml", "models.clip"):
        assert part in message, message
    del changes["data.init_args.prompts"]
    status, _, message = dry_run(variant(tiny_config, tmp_path / "run", changes), capsys)
    assert status == 2
    for part in (
        "trainer.precision: got bf16-true",
        "got 5 images of each train prompt for 8 processes",
        "'man' of 'gender' is unknown",
        "models.clip: './nowhere'",
        "its disk has 0.0 MiB free; make room",
    ):
        assert part in message, message


def test_a_trainer_that_cannot_be_made_is_a_problem_among_others(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"trainer.max_steps": -5, f"{MODELS}.classifier": "./nowhere"}
    status, _, message = dry_run(variant(tiny_config, tmp_path / "run", changes), capsys)
    assert status == 2
    assert "trainer: " in message
    assert "max_steps" in message
    assert "models.classifier" in message


def test_words_that_the_tokenizer_cannot_tell_apart(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = "model.init_args.adaptor.init_args."
    changes = {
        f"{settings}contrasts": [["Woman", "woman"]],
        f"{settings}contrast_templates": ["a photo of a {word}"],
    }
    status, _, message = dry_run(variant(tiny_config, tmp_path / "run", changes), capsys)
    assert status == 2
    assert "'Woman' and 'woman' are the same to the tokenizer" in message


def test_contrasts_of_groups_are_described_and_checked(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_weights: None
) -> None:
    """The estimate does without contrasts, and so without all that belongs to them."""
    settings = "model.init_args.adaptor.init_args."
    changes = {
        f"{settings}contrasts": [[["nurse", "secretary"], ["pilot", "farmer"]]],
        f"{settings}contrast_templates": ["a photo of a {word}"],
        f"{settings}contrast_without": [["female", "male"]],
        f"{settings}contrast_centred": True,
    }
    status, printed, message = dry_run(variant(tiny_config, tmp_path / "run", changes), capsys)
    assert status == 0, message
    assert "memory      about " in printed
    changes[f"{settings}contrast_without"] = [["Male", "male"]]
    status, _, message = dry_run(variant(tiny_config, tmp_path / "other", changes), capsys)
    assert status == 2
    assert "contrast_without: in 'a photo of a {word}' 'Male' and 'male' are the same to the tokenizer" in message


def test_a_layer_that_the_model_lacks(tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = {"model.init_args.adaptor.init_args.unet_modules": ["to_nowhere"]}
    status, _, message = dry_run(variant(tiny_config, tmp_path / "run", changes), capsys)
    assert status == 2
    assert "to_nowhere" in message


def test_a_model_of_the_hub_that_is_not_here(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = variant(tiny_config, tmp_path / "run", {f"{MODELS}.backbone": "nobody/has-this-model"})
    status, printed, _ = dry_run(config, capsys)
    assert status == 0
    assert "not estimated: nobody/has-this-model is not on this machine yet" in printed


def test_stable_diffusion_xl_by_its_config(
    tiny_pipeline: StableDiffusionPipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_weights: None
) -> None:
    """A tiny folder in place of the hub id; the estimate names each part, without any weights read."""
    build_tiny_xl(tiny_pipeline).save_pretrained(tmp_path / "xl")
    demo = yaml.safe_load((CONFIGS / "demo.yaml").read_text())["model"]["init_args"]
    adaptor = {"class_path": "fairlit.adaptors.Lora", "init_args": {"rank": 3}}
    own = {
        "trainer": {"accelerator": "cpu", "default_root_dir": str(tmp_path / "run")},
        "model": {
            "init_args": {
                "models": demo["models"] | {"backbone": str(tmp_path / "xl")},
                "detection": demo["detection"],
                "adaptor": adaptor,
            }
        },
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    configs = [f"--config=configs/{name}.yaml" for name in ("paper/exp1", "models/sdxl")]
    base = CONFIGS / "paper" / "sd15.yaml"
    status, printed, message = dry_run(base, capsys, *configs, "--config", str(tmp_path / "own.yaml"))
    assert status == 0, message
    # rank 3 of: queries, keys, values, outputs (w to w) and an MLP (w to m and back), in one layer of two and in both
    first, second = 3 * (4 * 2 * 32 + 2 * (32 + 64)), 2 * 3 * (4 * 2 * 24 + 2 * (24 + 32))
    assert f"parameters: {first:,} in the text encoder and {second:,} in the second text encoder and " in printed
    for part in ("text encoder", "second text encoder", "U-Net", "VAE"):
        assert re.search(rf"  frozen weights .*\b{part} \d+\.\d MiB", printed), printed


def test_training_of_a_classifier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faces = str(tmp_path / "faces")
    status, _, message = dry_run(CONFIGS / "classifier.yaml", capsys, "--data.init_args.folder", faces)
    assert status == 2
    assert faces in message


def test_the_flag_is_not_part_of_configs(tiny_config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--config", str(tiny_config), "--print_config"])
    assert "dry_run" not in yaml.safe_load(capsys.readouterr().out)
