"""The command line: what it refuses, and how; that its help, its configs and its commands work."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from cli_runs import last_checkpoint, read_checkpoint, variant
from diffusers import StableDiffusionPipeline
from PIL import Image

from fairlit.cli import main
from fairlit.data import PromptBatch
from fairlit.data.prompts.sets import SPLITS, PromptSet
from fairlit.faces import AttributeClassifier
from fairlit.training import FairFinetuner, Generated
from fairlit.training.finetuning.operating_points import OperatingPoint

CONFIGS = Path(__file__).parents[1] / "configs"
Refused = Callable[..., str]


@pytest.fixture
def refused(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refused:
    """Runs the command line with changes to the config that it must refuse; gives the message on stderr."""

    def load(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("weights were loaded before the input was refused")

    for owner, name in ((StableDiffusionPipeline, "from_pretrained"), (AttributeClassifier, "load")):
        monkeypatch.setattr(owner, name, load)

    def run(changes: dict[str, Any], *arguments: str, command: str = "fit") -> str:
        config = variant(tiny_config, tmp_path / "run", changes)
        with pytest.raises(SystemExit) as stopped:
            main([command, "--config", str(config), *arguments])
        assert stopped.value.code == 2
        return capsys.readouterr().err

    return run


def prompt_file(tmp_path: Path, template: str, words: list[str]) -> str:
    family = {"templates": [template], "fillers": {"word": {"train": words, "val": words[:1], "test": words[1:]}}}
    path = tmp_path / "prompts.yaml"
    path.write_text(yaml.safe_dump({"families": {"people": family}}))
    return str(path)


def own_message(message: str) -> str:
    """The one message of fairlit, which is all that stderr holds after Lightning's own lines."""
    lines = message.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("fairlit: ")]
    assert len(starts) == 1, message
    return "\n".join(lines[starts[0] :])


TARGET = "data.init_args.target"
MODELS = "model.init_args.models"


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({TARGET: {"height": {"tall": 0.5, "short": 0.5}}}, ["height", "gender", "age"]),
        ({TARGET: {"gender": {"female": 0.5, "man": 0.5}}}, ["'man'", "male"]),
        ({TARGET: {"gender": {"female": 0.5, "male": 0.4}}}, ["gender", "0.9", "1"]),
        ({f"{MODELS}.backbone": "nowhere/to/be/found"}, ["backbone", "nowhere/to/be/found"]),
        ({f"{MODELS}.classifier": "nowhere"}, ["models.classifier", "nowhere"]),
        ({f"{MODELS}.clip": "./nowhere"}, ["models.clip", "nowhere"]),
        ({"model.init_args.sampling.min_steps": 0}, ["min_steps", "0"]),
    ],
)
def test_wrong_values_are_refused(refused: Refused, changes: dict[str, Any], parts: list[str]) -> None:
    message = own_message(refused(changes))
    for part in parts:
        assert part in message


def test_template_without_placeholder_is_refused(refused: Refused, tmp_path: Path) -> None:
    prompts = prompt_file(tmp_path, "a photo of a doctor", ["doctor", "nurse"])
    message = own_message(refused({"data.init_args.prompts": prompts}))
    assert "'a photo of a doctor'" in message
    assert "placeholder" in message


def test_empty_prompt_list_is_refused(refused: Refused, tmp_path: Path) -> None:
    prompts = prompt_file(tmp_path, "a photo of a {word}", [])
    message = own_message(refused({"data.init_args.prompts": prompts}))
    assert "no train prompts" in message
    assert "no test prompts" in message


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_missing_checkpoint_is_refused(refused: Refused, command: str) -> None:
    message = own_message(refused({}, "--ckpt_path", "nowhere.ckpt", command=command))
    assert "ckpt_path: 'nowhere.ckpt' does not exist" in message


@pytest.mark.parametrize("content", ["garbage", "truncated", "another file of torch"])
def test_damaged_checkpoint_is_refused(refused: Refused, tmp_path: Path, content: str) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({"weights": torch.zeros(1000)}, path)
    if content == "garbage":
        path.write_bytes(b"no checkpoint at all")
    elif content == "truncated":
        path.write_bytes(path.read_bytes()[:1500])
    message = own_message(refused({}, "--ckpt_path", str(path)))
    assert str(path) in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("damage", ["truncated", "config", "weights missing"])
def test_damaged_pipeline_is_refused(refused: Refused, tmp_path: Path, tiny_pipeline_folder: Path, damage: str) -> None:
    folder = tmp_path / "pipeline"
    shutil.copytree(tiny_pipeline_folder, folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "config":
        (folder / "unet" / "config.json").write_text('{"sample_size": ')
    else:
        weights.unlink()
    message = own_message(refused({f"{MODELS}.backbone": str(folder)}))
    assert str(folder / "unet") in message


def test_damaged_classifier_is_refused(refused: Refused, tmp_path: Path, tiny_models: dict[str, str]) -> None:
    folder = tmp_path / "classifier"
    shutil.copytree(tiny_models["classifier"], folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "cut short" in own_message(refused({f"{MODELS}.classifier": str(folder)}))
    (folder / "config.json").write_text("[]")
    assert "config.json" in own_message(refused({f"{MODELS}.classifier": str(folder)}))


def test_classifier_with_other_classes_is_refused(
    refused: Refused, tmp_path: Path, tiny_models: dict[str, str]
) -> None:
    folder = tmp_path / "classifier"
    shutil.copytree(tiny_models["classifier"], folder)
    config = json.loads((folder / "config.json").read_text())
    config["classes"]["gender"] = ["woman", "man"]
    (folder / "config.json").write_text(json.dumps(config))
    message = own_message(refused({f"{MODELS}.audit_classifier": str(folder)}))
    for part in ("models.audit_classifier", "woman", "'female'"):
        assert part in message
    assert "models.classifier" not in message


def test_unknown_keys_are_refused(refused: Refused) -> None:
    assert "learning_rate" in refused({"model.init_args.learning_rate": 1e-3})
    assert "widgets" in refused({"widgets": 3})


def test_all_problems_come_together(refused: Refused) -> None:
    changes = {
        TARGET: {"gender": {"female": 0.75, "male": 0.75}},
        "data.init_args.images_per_prompt": 0,
        "model.init_args.ema_decay": 1.5,
        "model.init_args.seed": -1,
    }
    message = own_message(refused(changes, "--ckpt_path", "nowhere.ckpt"))
    for part in ("gender", "1.5", "images_per_prompt: got 0", "ema_decay: got 1.5", "seed: got -1", "nowhere.ckpt"):
        assert part in message


def test_problems_of_several_blocks_of_settings_come_together(refused: Refused) -> None:
    changes = {
        "model.init_args.sampling.min_steps": 0,
        "model.init_args.replay": {"micro_batch": 0, "step_fraction": 2.0},
        "model.init_args.detection": {"min_score": 3.0},
        "model.init_args.ema_decay": 1.5,
        "data.init_args.images_per_prompt": 0,
    }
    message = own_message(refused(changes))
    for part in (
        "sampling: min_steps, max_steps: got 0",
        "micro_batch: got 0",
        "step_fraction: got 2.0",
        "min_score: got 3.0",
        "model: ema_decay: got 1.5",
        "images_per_prompt: got 0",
    ):
        assert message.count(part) == 1


def test_all_models_are_looked_at(refused: Refused) -> None:
    missing = {f"{MODELS}.{name}": f"./no_{name}" for name in ("backbone", "classifier", "clip")}
    message = own_message(refused(missing | {TARGET: {"height": {"tall": 0.5, "short": 0.5}}}))
    for part in ("./no_backbone", "no_classifier", "./no_clip", "models.audit_classifier", "height"):
        assert part in message


def test_all_commands_end_to_end(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fit, then the other commands from its checkpoint with other settings, which must win over the checkpoint's."""
    run = tmp_path / "run"
    main(["fit", "--config", str(tiny_config)])
    for folder in ("adaptor", "adaptor_ema"):
        assert (run / folder / "pytorch_lora_weights.safetensors").is_file()
        assert "Not measured" in (run / folder / "README.md").read_text()
    generated: list[tuple[float, str, int]] = []
    generate = FairFinetuner.generate

    def watch(module: FairFinetuner, batch: PromptBatch, variant: str, at: OperatingPoint | None = None) -> Generated:
        scale = module.sampling.guidance_scale if at is None else at.guidance_scale
        generated.append((scale, variant, len(batch.keys)))
        return generate(module, batch, variant, at)

    monkeypatch.setattr(FairFinetuner, "generate", watch)
    sampling = {"model.init_args.sampling.guidance_scale": 3.5, "data.init_args.validation_images": 2}
    other = variant(tiny_config, run, {**sampling, "trainer.limit_val_batches": 2, "data.init_args.test_prompts": 1})
    loaded = ["--config", str(other), "--ckpt_path", str(last_checkpoint(run))]
    main(["validate", *loaded])
    variants = ("original", "finetuned", "ema")
    assert generated == [(3.5, name, 2) for name in variants] * 2  # two prompts

    main(["test", *loaded])
    summary = json.loads((run / "summary.json").read_text())
    assert summary["before"]["images"] == summary["after"]["images"] == 3
    assert (run / "before_after.png").is_file()
    assert "Not measured" in (run / "adaptor" / "README.md").read_text()  # it was the average that was measured
    card = (run / "adaptor_ema" / "README.md").read_text()
    assert f"| bias, gender | {summary['before']['attributes']['gender']['bias']:.3f} " in card
    assert "guidance_scale=3.5, num_inference_steps=2" in card

    main(["predict", *loaded])
    assert generated[-1] == (3.5, "ema", 3)
    lines = [json.loads(line) for line in (run / "images" / "manifest.jsonl").read_text().splitlines()]
    assert [line["file"] for line in lines] == [f"000_a_photo_of_the_face_of_a_farmer/000{i}.png" for i in range(3)]
    assert {line["prompt"] for line in lines} == {"a photo of the face of a farmer"}
    assert any(line["face"] for line in lines)
    for line in lines:
        with Image.open(run / "images" / line["file"]) as picture:
            assert picture.size == (64, 64)
    assert "3 images" in capsys.readouterr().out

    main(["export", str(run / "adaptor_ema"), "--to", "kohya", "--out", str(tmp_path / "out")])
    measured = card.split("## Measured")[1]
    assert (tmp_path / "out" / "README.md").read_text().split("## Measured")[1] == measured
    main(["fit", "--config", str(tiny_config), "--trainer.max_steps", "2", "--overwrite"])
    card = (run / "adaptor_ema" / "README.md").read_text()
    assert "Not measured" in card  # the summary beside it is of another adaptor now


def test_resuming_by_the_name_last(tiny_config: Path, tmp_path: Path) -> None:
    main(["fit", "--config", str(tiny_config), "--trainer.max_steps", "2"])
    main(["fit", "--config", str(tiny_config), "--ckpt_path", "last"])
    assert read_checkpoint(last_checkpoint(tmp_path / "run"))["global_step"] == 4


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "--help"], ["predict", "--help"]])
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(arguments)
    assert "usage:" in capsys.readouterr().out


def overlays() -> list[Path]:
    """Every config of the repository but prompts and words; those that are no whole config are overlays on another."""
    others = {"families", "clip", "methods", "editing"}  # of prompt files, classifiers by words, comparisons, edits
    files = sorted(path for path in CONFIGS.rglob("*.yaml") if not others & set(yaml.safe_load(path.read_text())))
    assert len(files) > 5
    return files


@pytest.mark.parametrize("path", overlays(), ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_config_parses(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(CONFIGS.parent)
    whole = "class_path" in yaml.safe_load(path.read_text()).get("model", {})
    base = "configs/paper/sd15.yaml" if path.parent.name in ("paper", "presets", "models") else "configs/demo.yaml"
    bases = [] if whole else ["--config", base]
    with pytest.raises(SystemExit) as stopped:
        main(["fit", *bases, "--config", str(path), "--print_config"])
    assert not stopped.value.code
    printed = yaml.safe_load(capsys.readouterr().out)

    def check(given: Any, found: Any) -> None:
        if isinstance(given, dict):
            if "class_path" in found and not {"class_path", "init_args"} & set(given):
                found = found["init_args"]  # a loss, in whose place one may put a class of one's own
            for name, value in given.items():
                check(value, found[name])
        elif not isinstance(given, list):
            assert found == given

    check(yaml.safe_load(path.read_text()), printed)


def test_a_run_without_a_folder_is_named_after_its_configs(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = variant(tiny_config, tmp_path / "unused", {"trainer.default_root_dir": None, "trainer.max_steps": 2})
    overlay = tmp_path / "gentle.yaml"
    overlay.write_text(yaml.safe_dump({"model": {"init_args": {"ema_decay": None}}}))
    monkeypatch.chdir(tmp_path)
    main(["fit", "--config", str(config), "--config", str(overlay)])
    run = tmp_path / "runs" / "unused_gentle"
    assert last_checkpoint(run).is_file()
    assert (run / "adaptor").is_dir()
    assert yaml.safe_load((run / "config.yaml").read_text())["trainer"]["default_root_dir"] == "runs/unused_gentle"
    main(["fit", "--config", str(run / "config.yaml"), "--ckpt_path", "last", "--trainer.max_steps", "3"])
    assert read_checkpoint(last_checkpoint(run))["global_step"] == 3
    assert [folder.name for folder in (tmp_path / "runs").iterdir()] == ["unused_gentle"]


def test_prompt_files_are_whole() -> None:
    read = {path: yaml.safe_load(path.read_text()) for path in CONFIGS.rglob("*.yaml")}
    files = [path for path, content in read.items() if isinstance(content.get("families"), dict)]
    assert files
    for path in files:
        prompts = PromptSet.from_file(path)
        assert all(prompts.select(split) for split in SPLITS)


def test_console_script(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("fairlit")
    done = subprocess.run([script, "table", str(tmp_path / "nowhere")], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert str(tmp_path / "nowhere") in done.stderr


def test_checkpoint_of_another_adaptor_is_refused(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    main(["fit", "--config", str(tiny_config), "--trainer.max_steps", "2"])
    for changes, part in (
        ({"model.init_args.adaptor.init_args.rank": 3}, "rank"),
        ({"model.init_args.adaptor.init_args.unet": False}, "has no place"),
    ):
        capsys.readouterr()
        config = variant(tiny_config, run, changes)
        with pytest.raises(SystemExit) as stopped:
            main(["test", "--config", str(config), "--ckpt_path", str(last_checkpoint(run))])
        assert stopped.value.code == 2
        message = own_message(capsys.readouterr().err)
        assert message.startswith("fairlit: ckpt_path: the checkpoint")
        assert part in message
