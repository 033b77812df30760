"""A run that is killed and resumed ends with the very bits of one that is not."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_runs import adaptors, last_checkpoint, read_checkpoint, run_fairlit, same_content, variant

from fairlit.cli import main

KILL_AFTER_BATCH = "stand_ins.KillAfterBatch"
KILL_INSIDE_WRITE = "stand_ins.KillInsideWrite"
COMPARED = ("adaptor", "adaptor_ema", "optimizer_states", "global_step")


def fit(config: Path, checkpoint: Path | str | None = None) -> None:
    main(["fit", "--config", str(config), *(["--ckpt_path", str(checkpoint)] if checkpoint else [])])


def check_resumed(config: Path, tmp_path: Path, changes: dict[str, Any], killer: dict[str, Any], at_step: int) -> None:
    """Kills a run, resumes it, and compares it with one that was left alone."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    fit(variant(config, whole, changes))
    killed = run_fairlit("fit", "--config", variant(config, broken, changes, [killer]))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (broken / "adaptor").exists()
    left = last_checkpoint(broken)
    assert read_checkpoint(left)["global_step"] == at_step
    fit(variant(config, broken, changes), left)
    before, after = read_checkpoint(last_checkpoint(whole)), read_checkpoint(left)
    for part in COMPARED:
        assert same_content(before[part], after[part]), part
    assert same_content(adaptors(whole), adaptors(broken))


def test_killed_in_training(tiny_config: Path, tmp_path: Path) -> None:
    """Accumulation over two batches, validation every third batch, death in the middle of an accumulation.

    Activations of half of the evaluations are kept, and guidance scales are drawn.
    """
    changes = {
        "model.init_args.replay": {"keep": 0.02},
        "model.init_args.sampling.min_guidance_scale": 1.5,
        "model.init_args.sampling.max_guidance_scale": 6.0,
        "trainer.max_steps": 6,
        "trainer.accumulate_grad_batches": 2,
        "trainer.val_check_interval": 3,
        "trainer.limit_val_batches": 1,
    }
    killer = {"class_path": KILL_AFTER_BATCH, "init_args": {"batch": 6}}
    check_resumed(tiny_config, tmp_path, changes, killer, at_step=2)
    kept = read_checkpoint(last_checkpoint(tmp_path / "broken"))["chain_gradient"]["kept"]
    assert 0 < kept < 5 * 2  # of five images at two or three evaluations


@pytest.mark.slow
def test_killed_inside_a_checkpoint_write(tiny_config: Path, tmp_path: Path) -> None:
    killer = {"class_path": KILL_INSIDE_WRITE, "init_args": {"write": 2}}
    check_resumed(tiny_config, tmp_path, {"trainer.max_steps": 6}, killer, at_step=2)
    assert not list((tmp_path / "broken" / "checkpoints").glob(".*partial*"))  # the half that was written


@pytest.mark.slow
def test_killed_with_half_an_accumulated_gradient_saved(tiny_config: Path, tmp_path: Path) -> None:
    """Checkpoints after validations, which come after batches 3, 6, 9 while the optimiser steps after 2, 4, 6, 8."""
    changes = {
        "trainer.max_steps": 5,
        "trainer.accumulate_grad_batches": 2,
        "trainer.val_check_interval": 3,
        "trainer.limit_val_batches": 1,
    }
    content = yaml.safe_load(tiny_config.read_text())
    saver = content["trainer"]["callbacks"][-1]
    saver["init_args"] = {"save_top_k": 1, "save_last": True}
    tiny_config.write_text(yaml.safe_dump(content))
    killer = {"class_path": KILL_AFTER_BATCH, "init_args": {"batch": 4}}
    check_resumed(tiny_config, tmp_path, changes, killer, at_step=1)
