"""What `fairlit fit` must not replace, and which checkpoint the other commands judge."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from cli_runs import last_checkpoint, read_checkpoint, variant
from finished_runs import FinishedRuns

from fairlit.cli import main
from fairlit.commands.run_start import similar_runs
from fairlit.commands.training import build

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def config(tiny_config: Path, tmp_path: Path) -> Path:
    """The tiny config for a run of one step, which is saved."""
    small = {"trainer.max_steps": 1, "data.init_args.images_per_prompt": 2, "data.init_args.test_prompts": 1}
    config = variant(tiny_config, tmp_path / "run", small)
    config.write_text(config.read_text().replace("every_n_train_steps: 2", "every_n_train_steps: 1"))
    return config


@pytest.fixture
def run(config: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command on the config; gives exit status, stdout and stderr."""

    def run(command: str, *arguments: str | Path) -> tuple[int, str, str]:
        status: str | int | None = 0
        try:
            main([command, "--config", str(config), *map(str, arguments)])
        except SystemExit as stopped:
            status = stopped.code
        printed = capsys.readouterr()
        return int(status or 0), printed.out, printed.err

    return run


def test_a_finished_run_is_replaced_on_request_alone(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert run("fit")[0] == 0
    saved = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    for arguments in ([], ["--dry_run"], ["--ckpt_path", tmp_path / "elsewhere.ckpt"]):
        (tmp_path / "elsewhere.ckpt").write_bytes(saved[last_checkpoint(folder)])
        status, _, message = run("fit", *arguments)
        assert status == 2
        for part in (str(last_checkpoint(folder)), str(folder / "adaptor"), "--ckpt_path last", "--overwrite"):
            assert part in message
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == saved

    assert run("fit", "--ckpt_path", "last")[0] == 0  # nothing is left to train
    assert {path.read_bytes() for path in folder.rglob("*.ckpt")} == {saved[last_checkpoint(folder)]}
    assert run("fit", "--ckpt_path", "last", "--overwrite")[0] == 2

    status, printed, _ = run("fit", "--overwrite", "--trainer.max_steps", 2)
    assert status == 0
    assert f"removed  {last_checkpoint(folder)}" in printed
    assert read_checkpoint(last_checkpoint(folder))["global_step"] == 2
    assert "overwrite" not in (folder / "config.yaml").read_text()


def test_what_is_built_for_a_script_leaves_nothing_in_the_folder_of_the_run(config: Path, tmp_path: Path) -> None:
    silent = tmp_path / "silent.yaml"
    settings = {"callbacks": [], "logger": False, "enable_checkpointing": False, "limit_val_batches": 0}
    silent.write_text(yaml.safe_dump({"trainer": settings}))
    cli = build([f"--config={config}", f"--config={silent}"])
    assert cli.trainer.default_root_dir == str(tmp_path / "run")
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    assert cli.trainer.global_step == 1
    assert not (tmp_path / "run").exists()


def test_evaluation_takes_the_last_checkpoint_of_the_run(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for command in ("validate", "test", "predict"):
        for arguments in ([], ["--ckpt_path", "last"]):
            status, _, message = run(command, *arguments)
            assert status == 2
            assert f"{folder} holds no checkpoint of this run" in message
            assert "untrained" in message
    assert not folder.exists() or not list(folder.rglob("*.json"))

    status, printed, _ = run("test", "--ckpt_path", "untrained")
    assert status == 0
    assert "model before training" in printed
    assert not (folder / "config.yaml").exists()  # what a run was trained with
    assert (folder / "config_test.yaml").is_file()
    untrained = json.loads((folder / "summary.json").read_text())
    assert untrained["before"]["attributes"] == untrained["after"]["attributes"]

    assert run("fit")[0] == 0
    status, printed, _ = run("test")
    assert status == 0
    assert f"checkpoint {last_checkpoint(folder)}, the last of this run" in printed
    by_itself = json.loads((folder / "summary.json").read_text())
    assert by_itself["adaptor"] != untrained["adaptor"]
    assert run("test", "--ckpt_path", last_checkpoint(folder))[0] == 0
    assert json.loads((folder / "summary.json").read_text())["adaptor"] == by_itself["adaptor"]


def test_predicted_images_are_replaced_on_request_alone(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "images"
    first = ["--ckpt_path", "untrained"]
    assert run("predict", *first)[0] == 0
    saved = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    leftover = next(path for path in saved if path.suffix == ".png")
    seed = ["--data.init_args.seed", 1]

    status, _, message = run("predict", *first, *seed)
    assert status == 2
    assert f"holds images of an earlier predict ({folder})" in message
    assert "--overwrite" in message
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == saved

    status, printed, _ = run("predict", *first, *seed, "--overwrite")
    assert status == 0
    assert f"removed  {folder / 'manifest.jsonl'} and {len(saved) - 1} more files" in printed
    assert leftover.read_bytes() != saved[leftover]
    assert "overwrite" not in (tmp_path / "run" / "config_predict.yaml").read_text()


def test_a_fast_run_leaves_a_finished_one_alone(
    run: Run, config: Path, tmp_path: Path, finished_runs: FinishedRuns
) -> None:
    folder = tmp_path / "run"
    finished_runs.fit(config)
    assert run("test")[0] == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for command in ("fit", "validate", "test", "predict"):
        assert run(command, "--trainer.fast_dev_run", "1", "--trainer.max_steps", 2)[0] == 0
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before, command
    _, printed, _ = run("test")
    assert f"replaced {folder / 'summary.json'}" in printed


def test_a_start_without_a_checkpoint_is_said(run: Run, tmp_path: Path) -> None:
    status, printed, _ = run("fit", "--ckpt_path", "last")
    assert status == 0
    assert f"no checkpoint in {tmp_path / 'run'}: training starts at step 0" in printed


def test_a_logger_with_versions_has_one_run(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    logger = ["--trainer.logger", "lightning.pytorch.loggers.CSVLogger", "--trainer.logger.save_dir", folder]
    assert run("fit", *logger)[0] == 0
    [first] = folder.rglob("last.ckpt")
    assert first.parent.parent.name == "version_0"
    assert run("fit", *logger)[0] == 2
    status, printed, _ = run("test", *logger)
    assert status == 0
    assert str(first) in printed
    assert run("fit", *logger, "--ckpt_path", "last", "--trainer.max_steps", 2)[0] == 0
    steps = {path.parent.parent.name: read_checkpoint(path)["global_step"] for path in folder.rglob("last.ckpt")}
    assert sorted(steps.values()) == [1, 2]


@pytest.mark.parametrize("lost", ["loops", "optimizer_states", "lr_schedulers", "pytorch-lightning_version"])
def test_a_checkpoint_of_another_program_is_refused(
    run: Run, config: Path, tmp_path: Path, finished_runs: FinishedRuns, lost: str
) -> None:
    finished_runs.fit(config)
    path = last_checkpoint(tmp_path / "run")
    content = read_checkpoint(path)
    del content[lost]
    torch.save(content, path)
    status, _, message = run("fit", "--ckpt_path", "last", "--trainer.max_steps", 2)
    assert status == 2
    assert (
        f"ckpt_path: {path} {'is no training checkpoint' if lost == 'loops' else 'cannot be gone on from ('}" in message
    )


def test_null_is_no_text(run: Run, tmp_path: Path) -> None:
    status, _, message = run("test", "--ckpt_path", "null")
    assert status == 2
    assert "ckpt_path: got none, and" in message

    changes = ["--model.init_args.models.clip", "null", "--model.init_args.reference_images.cache=null"]
    status, printed, _ = run("fit", *changes, "--print_config")
    settings = yaml.safe_load(printed)
    assert status == 0
    assert settings["model"]["init_args"]["models"]["clip"] is None
    assert settings["model"]["init_args"]["reference_images"]["cache"] is None
    assert settings["ckpt_path"] is None

    status, _, message = run("fit", "--model.init_args.sampling.min_steps", "null")
    assert status == 2
    assert "model.init_args.sampling.min_steps: got null; expected a whole number" in message


def test_runs_with_the_same_configs_are_found(tmp_path: Path) -> None:
    for name in ("demo_unet", "unet_demo", "paper", "demo_empty"):
        (tmp_path / name / "checkpoints").mkdir(parents=True)
    for name in ("demo_unet", "unet_demo", "paper"):
        (tmp_path / name / "checkpoints" / "last.ckpt").touch()
    assert similar_runs(tmp_path / "demo_unet") == [tmp_path / "unet_demo"]
    assert similar_runs(tmp_path / "nowhere" / "demo") == []
