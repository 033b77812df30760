from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from cli_runs import adaptors, last_checkpoint, read_checkpoint, same_content, variant
from finished_runs import FinishedRuns

from fairlit.cli import main
from fairlit.diffusion import Backbone

COMPARED = ("adaptor", "adaptor_ema", "optimizer_states", "global_step")
CHANGES = {
    "trainer.max_steps": 4,
    "trainer.val_check_interval": 2,
    "trainer.limit_val_batches": 2,
    "trainer.accumulate_grad_batches": 2,
    "data.init_args.images_per_prompt": 2,
    "data.init_args.validation_images": 2,
    "data.init_args.test_images": 2,
}


def sends(number: int, stage: str, batch: int) -> dict[str, Any]:
    return {
        "class_path": "stand_ins.SignalBefore",
        "init_args": {"number": int(number), "stage": stage, "batch": batch},
    }


def stopped(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as raised:
        main([str(argument) for argument in arguments])
    assert isinstance(raised.value.code, int)
    return raised.value.code


@pytest.mark.parametrize(
    ("number", "stage", "batch", "status", "step"),
    [
        (signal.SIGTERM, "train", 4, 143, 2),  # in the middle of an accumulation
        (signal.SIGTERM, "validation", 3, 143, 2),
    ],
)
def test_training_that_is_stopped_goes_on(
    tiny_config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    finished_runs: FinishedRuns,
    number: int,
    stage: str,
    batch: int,
    status: int,
    step: int,
) -> None:
    """It ends with the bits of a run that was left alone."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    finished_runs.fit(variant(tiny_config, whole, CHANGES))

    config = variant(tiny_config, broken, CHANGES, [sends(number, stage, batch)])
    assert stopped("fit", "--config", config) == status
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    message = capsys.readouterr().err
    assert f"stopped by {signal.Signals(number).name} at step {step}: {last_checkpoint(broken)} is saved" in message
    assert "--ckpt_path last" in message
    assert read_checkpoint(last_checkpoint(broken))["global_step"] == step
    assert adaptors(broken)

    main(["fit", "--config", str(variant(tiny_config, broken, CHANGES)), "--ckpt_path", "last"])
    one, other = read_checkpoint(last_checkpoint(whole)), read_checkpoint(last_checkpoint(broken))
    for part in COMPARED:
        assert same_content(one[part], other[part]), part
    assert same_content(adaptors(whole), adaptors(broken))


def test_an_interrupt_stops_training_after_the_step(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    config = variant(tiny_config, run, {**CHANGES, "trainer.accumulate_grad_batches": 1}, [sends(2, "train", 0)])
    assert stopped("fit", "--config", config) == 130
    assert f"stopped by SIGINT at step 1: {last_checkpoint(run)} is saved" in capsys.readouterr().err
    assert read_checkpoint(last_checkpoint(run))["global_step"] == 1
    assert adaptors(run)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_test_stops_before_the_next_evaluation_of_the_model(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    calls: list[int] = []
    forward = Backbone.forward

    def count(self: Backbone, *arguments: Any) -> Any:
        calls.append(1)
        return forward(self, *arguments)

    monkeypatch.setattr(Backbone, "forward", count)
    config = variant(tiny_config, tmp_path / "run", CHANGES, [sends(number, "test", 1)])
    assert stopped("test", "--config", config, "--ckpt_path", "untrained") == status
    assert len(calls) == 2 * 2  # of the first prompt: two steps, before and after
    assert not (tmp_path / "run" / "summary.json").exists()
