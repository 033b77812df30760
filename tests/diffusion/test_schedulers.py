"""Schedulers of pipeline folders: what cannot sample as planned is told before weights load."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from fairlit.diffusion.schedulers import check_sampling
from fairlit.diffusion.settings import Solver
from fairlit.errors import Problems

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def pipeline(folder: Path, name: str, fields: dict[str, Any]) -> Path:
    """A folder with no more of a pipeline than its scheduler."""
    (folder / "scheduler").mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"scheduler": ["diffusers", name]}))
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({"_class_name": name} | fields))
    return folder


def complaints(path: Path | str, *steps: int, solver: Solver = "pipeline", weights: Any = "natural") -> list[str]:
    problems = Problems("test")
    check_sampling(path, solver, steps, problems=problems, subject="model", weights=weights)
    return problems.messages


@pytest.mark.parametrize("name", ["EulerAncestralDiscreteScheduler", "LCMScheduler", "TCDScheduler"])
def test_fresh_noise_is_no_obstacle(tmp_path: Path, name: str) -> None:
    assert complaints(pipeline(tmp_path / "model", name, BETAS), 4, 8, weights="uniform") == []


def test_clipped_predictions_are_refused_and_another_solver_helps(tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "model", "DDPMScheduler", BETAS)
    [message] = complaints(folder, 4, 8)
    assert message.startswith("scheduler: DDPMScheduler is not linear")
    assert "take solver dpm-solver++, ddim or euler" in message
    for solver in ("dpm-solver++", "ddim", "euler"):
        assert complaints(folder, 4, 8, solver=solver) == []


@pytest.mark.parametrize("missing", BETAS)
def test_a_noise_schedule_that_is_not_in_the_file_is_refused(tmp_path: Path, missing: str) -> None:
    fields = {name: value for name, value in BETAS.items() if name != missing}
    [message] = complaints(pipeline(tmp_path / "model", "DPMSolverMultistepScheduler", fields), 4)
    assert f"has no {missing}; copy the model again" in message


def test_betas_may_be_written_out(tmp_path: Path) -> None:
    fields = {"trained_betas": [0.001 + 0.00001 * step for step in range(1000)]}
    assert complaints(pipeline(tmp_path / "model", "DPMSolverMultistepScheduler", fields), 4) == []


@pytest.mark.parametrize("name", ["NoSuchScheduler", "UNet2DConditionModel"])
def test_classes_that_are_no_schedulers_are_refused(tmp_path: Path, name: str) -> None:
    [message] = complaints(pipeline(tmp_path / "model", name, BETAS), 4)
    assert f"got the scheduler {name} in" in message


def test_fields_of_wrong_types_are_refused_by_the_folder(tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "model", "DPMSolverMultistepScheduler", BETAS | {"beta_schedule": 3})
    [message] = complaints(folder, 4)
    assert message.startswith(str(folder / "scheduler"))


def test_weights_need_betas(tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "model", "FlowMatchEulerDiscreteScheduler", {})
    assert complaints(folder, 4, weights="uniform") == []
    [message] = complaints(folder, 4, weights="reference")
    assert "'reference' needs a scheduler with betas" in message


def test_hub_ids_are_taken_on_trust() -> None:
    assert complaints("somebody/model", 4) == []


def test_commands_refuse_before_weights_load(
    tiny_pipeline_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from fairlit.cli import main

    folder = tmp_path / "model"
    shutil.copytree(tiny_pipeline_folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    for weights in tiny_pipeline_folder.rglob("*.safetensors"):  # sound by their headers, and without numbers
        header = int.from_bytes(weights.read_bytes()[:8], "little")
        cut = folder / weights.relative_to(tiny_pipeline_folder)
        cut.write_bytes(weights.read_bytes()[: 8 + header] + bytes(weights.stat().st_size - 8 - header))
    index = json.loads((folder / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "DDPMScheduler"]
    (folder / "model_index.json").write_text(json.dumps(index))
    command = ["generate", "a doctor", "--model", str(folder), "--steps", "2", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2
    assert "DDPMScheduler is not linear" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
