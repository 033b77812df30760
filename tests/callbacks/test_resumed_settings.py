from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from cli_runs import last_checkpoint, read_checkpoint, variant
from finished_runs import FinishedRuns
from torch.optim.lr_scheduler import LinearLR

from fairlit.callbacks.resumed_settings import take_settings
from fairlit.cli import main

OPTIMIZER, SCHEDULE = "model.init_args.optimizer", "model.init_args.lr_scheduler"
LINEAR = "torch.optim.lr_scheduler.LinearLR"


def adamw(**settings: Any) -> dict[str, Any]:
    return {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01, **settings}}


def linear(end: float) -> dict[str, Any]:
    return {"class_path": LINEAR, "init_args": {"start_factor": 1.0, "end_factor": end, "total_iters": 4}}


def test_settings_are_taken_and_told() -> None:
    weight = torch.nn.Parameter(torch.ones(()))
    restored = torch.optim.AdamW([weight], lr=0.5, weight_decay=0.1)
    assert take_settings(restored, torch.optim.AdamW([weight], lr=0.5, weight_decay=0.1)) == []
    configured = torch.optim.AdamW([weight], lr=0.25, weight_decay=0.0, betas=(0.8, 0.9))
    said = take_settings(restored, configured)
    assert said == ["learning rate 0.25 (was 0.5)", "betas (0.8, 0.9) (was (0.9, 0.999))", "weight_decay 0.0 (was 0.1)"]
    [group] = restored.param_groups
    assert (group["lr"], group["weight_decay"], group["betas"]) == (0.25, 0.0, (0.8, 0.9))


def test_the_rate_is_named_once_where_there_is_a_schedule() -> None:
    weight = torch.nn.Parameter(torch.ones(()))
    restored, configured = torch.optim.SGD([weight], lr=0.4), torch.optim.SGD([weight], lr=0.2)
    for optimizer in (restored, configured):
        LinearLR(optimizer, start_factor=0.5)
    assert take_settings(restored, configured) == ["initial learning rate 0.2 (was 0.4)"]
    assert restored.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize(
    ("changes", "rate", "parts"),
    [
        # After three of four steps, a line from 1 to .2 is at .4; one from 1 to .6 at .7.
        ({OPTIMIZER: adamw(lr=1e-5)}, 0.4e-5, ["learning rate 1e-05 (was 0.01)"]),
        ({SCHEDULE: linear(0.6)}, 0.7e-2, ["learning rate 0.008 (was 0.006)"]),
        ({SCHEDULE: None}, 0.01, ["learning rate 0.01 (was 0.006)"]),
        ({OPTIMIZER: adamw(weight_decay=0.5)}, 0.4e-2, ["weight_decay 0.5 (was 0.01)"]),
        ({OPTIMIZER: {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.01}}}, 0.4e-2, ["empty state", "AdamW"]),
        ({}, 0.4e-2, []),
    ],
    ids=["rate", "schedule", "no schedule", "decay", "another optimiser", "nothing changed"],
)
def test_a_resumed_run_has_the_settings_of_its_config(
    tiny_config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    finished_runs: FinishedRuns,
    changes: Any,
    rate: float,
    parts: list[str],
) -> None:
    run = tmp_path / "run"
    base = {OPTIMIZER: adamw(), SCHEDULE: linear(0.2), "trainer.max_steps": 2, "data.init_args.images_per_prompt": 2}
    content = yaml.safe_load(tiny_config.read_text())
    content["trainer"]["callbacks"] = [entry for entry in content["trainer"]["callbacks"] if "Model" in str(entry)]
    content["trainer"]["callbacks"][0]["init_args"] |= {"every_n_train_steps": 1, "enable_version_counter": False}
    content["model"]["init_args"] |= {"lr_scheduler": None}
    tiny_config.write_text(yaml.safe_dump(content))
    finished_runs.fit(variant(tiny_config, run, base))
    capsys.readouterr()

    main(
        [
            "fit",
            "--config",
            str(variant(tiny_config, run, base | changes | {"trainer.max_steps": 3})),
            "--ckpt_path",
            "last",
        ]
    )
    printed = capsys.readouterr().out
    assert ("resumed with the config's settings" in printed) == bool(parts)
    for part in parts:
        assert part in printed
    [group] = read_checkpoint(last_checkpoint(run))["optimizer_states"][0]["param_groups"]
    assert group["lr"] == pytest.approx(rate)
