"""Steps without a finite gradient are skipped on all ranks, counted, and stop the run in the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from cli_runs import adaptors, largest_difference, last_checkpoint, read_checkpoint, run_installed, variant
from finished_runs import FinishedRuns
from safetensors.torch import load_file

from fairlit.cli import main
from fairlit.training.finetuning.step_guard import StepGuard

OVERLAYS = Path(__file__).parents[3] / "configs" / "strategies"
SCALER = {"class_path": "torch.amp.GradScaler", "init_args": {"device": "cpu", "init_scale": 64.0}}
FLOAT16_ON_CPU = {  # Lightning's own flag would turn into bf16-mixed there
    "trainer.plugins": {
        "class_path": "lightning.pytorch.plugins.MixedPrecision",
        "init_args": {"precision": "16-mixed", "device": "cpu", "scaler": SCALER},
    }
}


def gradients(value: float) -> list[torch.nn.Parameter]:
    """Two parameters, with gradients whose norm is 5 unless `value` spoils it."""
    first, second = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(()))
    first.grad, second.grad = torch.tensor([0.0, 3.0]), torch.tensor(4.0)
    if value:
        first.grad[0] = value
    return [first, second]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_bad_gradients_are_removed_and_counted(bad: float) -> None:
    guard = StepGuard()
    for value, skipped, in_a_row in ((0, 0, 0), (bad, 1, 1), (bad, 2, 2), (0, 2, 0), (bad, 3, 1)):
        parameters = gradients(value)
        norm = guard.examine(parameters)
        assert (guard.skipped, guard.in_a_row) == (skipped, in_a_row)
        assert guard.applied == (value == 0)
        assert not guard.keeps_scale
        if value == 0:
            assert norm == 5
            assert all(parameter.grad is not None for parameter in parameters)
        else:
            assert not norm.isfinite()
            assert all(parameter.grad is None for parameter in parameters)
    other = StepGuard()
    other.load_state_dict(guard.state_dict())
    assert (other.skipped, other.in_a_row) == (3, 1)


def scaled_step(guard: StepGuard, scaler: torch.amp.GradScaler, gradient: float, loss: float = 1.0) -> float:
    """One step as Lightning's precision plugin takes it; returns how far the parameter went."""
    parameter = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    guard.note_loss(torch.tensor(loss))
    scale = scaler.get_scale()
    scaler.scale(torch.zeros(())).item()  # makes the scaler's tensors, as the backward pass would
    parameter.grad = torch.tensor(gradient * scale)
    scaler.unscale_(optimizer)
    guard.examine([parameter], scaler)
    scaler.step(optimizer)
    scaler.update()
    if guard.keeps_scale:
        scaler.update(scale)
    return -float(parameter.detach())


def test_the_search_of_the_scale_is_no_failure() -> None:
    guard, scaler = StepGuard(), torch.amp.GradScaler("cpu", init_scale=4.0)
    assert scaled_step(guard, scaler, 0.5) == 0.5
    for scale in (2.0, 1.0):
        assert scaled_step(guard, scaler, torch.inf) == 0
        assert not guard.applied
        assert (scaler.get_scale(), guard.skipped) == (scale, 0)
    assert scaled_step(guard, scaler, 0.25) == 0.25
    assert guard.applied
    for count in (1, 2):  # at a scale of 1 there is nothing left to search for
        scaled_step(guard, scaler, torch.inf)
        assert (guard.skipped, guard.in_a_row) == (count, count)


def test_a_bad_loss_is_a_failure_and_leaves_the_scale() -> None:
    guard, scaler = StepGuard(), torch.amp.GradScaler("cpu", init_scale=1024.0)
    for count in (1, 2):
        assert scaled_step(guard, scaler, torch.nan, loss=torch.nan) == 0
        assert (guard.skipped, guard.in_a_row) == (count, count)
        assert scaler.get_scale() == 1024
    assert scaled_step(guard, scaler, 0.5) == 0.5
    assert (guard.skipped, guard.in_a_row) == (2, 0)
    scaled_step(guard, scaler, torch.inf)
    assert (guard.skipped, scaler.get_scale()) == (2, 512)


def spoiled(batches: list[int]) -> list[dict[str, Any]]:
    return [{"class_path": "stand_ins.SpoilBatches", "init_args": {"batches": batches}}]


HALF_BLIND = {
    "model.class_path": "stand_ins.FinetunerHalfBlind",
    "trainer.gradient_clip_val": 1e-4,
    "model.init_args.optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 1000.0}},
    "model.init_args.alignment.threshold": 0.0,
    "data.init_args.images_per_prompt": 9,
}


def fit_in_processes(config: Path, strategy: str, count: int) -> Any:
    overlay = OVERLAYS / f"{strategy}.yaml"
    return run_installed("fit", "--config", config, "--config", overlay, "--trainer.devices", str(count))


@pytest.mark.parametrize("strategy", ["ddp", pytest.param("fsdp2", marks=pytest.mark.slow)])
def test_one_rank_without_faces_and_one_with_nan(tiny_config: Path, tmp_path: Path, strategy: str) -> None:
    """The first process never sees a face, the second overflows once: what one process with both learns."""
    one, two = tmp_path / "one", tmp_path / "two"
    main(["fit", "--config", str(variant(tiny_config, one, HALF_BLIND, spoiled([1])))])
    done = fit_in_processes(variant(tiny_config, two, HALF_BLIND, spoiled([1])), strategy, 2)
    assert done.returncode == 0, done.stderr
    for run in (one, two):
        left = read_checkpoint(last_checkpoint(run))
        assert left["global_step"] == 4
        assert left["step_guard"] == {"skipped": 1, "in_a_row": 0}
        assert left["adaptor_ema"]["updates"] == 3
    trained = adaptors(one)
    assert max(float(tensor.abs().max()) for name, tensor in trained.items() if "lora_B" in name) > 1e-3
    assert largest_difference(trained, adaptors(two)) < 1e-5


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_hopeless_run_stops_on_all_ranks_and_can_be_resumed(
    tiny_config: Path, tmp_path: Path, processes: int, capsys: pytest.CaptureFixture[str]
) -> None:
    run, good = tmp_path / "run", tmp_path / "good"
    limit = HALF_BLIND | {"model.init_args.max_skipped_steps": 2, "trainer.max_steps": 8}
    config = variant(tiny_config, run, limit, spoiled([1, 3, 4]))
    if processes == 1:
        with pytest.raises(SystemExit) as stopped:
            main(["fit", "--config", str(config)])
        status, message = stopped.value.code, capsys.readouterr().err
    else:
        done = fit_in_processes(config, "ddp", processes)
        status, message = done.returncode, done.stderr
    assert status == 1, message
    assert message.count("fairlit: stopped at step 5: the gradients of 2 steps in a row were not finite") == 1
    assert str(last_checkpoint(run)) in message
    left = read_checkpoint(last_checkpoint(run))
    assert left["step_guard"] == {"skipped": 3, "in_a_row": 0}
    assert left["adaptor_ema"]["updates"] == 2
    main(["fit", "--config", str(variant(tiny_config, good, limit | {"trainer.max_steps": 3}, spoiled([1])))])
    for folder, saved in (("adaptor", left["adaptor"]), ("adaptor_ema", left["adaptor_ema"]["shadow"])):
        expected = load_file(good / folder / "pytorch_lora_weights.safetensors")  # what the good steps have led to
        assert largest_difference(saved, expected) < 1e-5
    main(["fit", "--config", str(variant(tiny_config, run, limit)), "--ckpt_path", str(last_checkpoint(run))])
    resumed = read_checkpoint(last_checkpoint(run))
    assert resumed["global_step"] == 8
    assert resumed["step_guard"] == {"skipped": 3, "in_a_row": 0}
    assert resumed["adaptor_ema"]["updates"] == 5


@pytest.mark.parametrize(
    "changes", [{"trainer.precision": "bf16-mixed"}, FLOAT16_ON_CPU], ids=["bf16-mixed", "16-mixed"]
)
def test_mixed_precision_learns_what_full_precision_learns(
    tiny_config: Path,
    tmp_path: Path,
    changes: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    finished_runs: FinishedRuns,
) -> None:
    """Plain gradient descent, so that weights show gradients; the first step alone, before paths part."""
    plain = {
        "trainer.max_steps": 1,
        "trainer.gradient_clip_val": None,
        "model.init_args.optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 1000.0}},
    }
    found = {}
    for name, more in (("full", {}), ("mixed", changes)):
        finished_runs.fit(variant(tiny_config, tmp_path / name, plain | more))
        saved = load_file(tmp_path / name / "adaptor" / "pytorch_lora_weights.safetensors")
        found[name] = torch.cat([tensor.flatten() for key, tensor in saved.items() if "lora_B" in key])
    assert found["full"].norm() > 0
    difference = float((found["mixed"] - found["full"]).norm() / found["full"].norm())
    with capsys.disabled():
        print(f"\nrelative difference of the gradients {difference:.2e}")
    assert difference < 0.2
