"""An adaptor takes the place of the one before when it has been checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from cli_runs import adaptors, last_checkpoint, same_content, variant
from finished_runs import FinishedRuns

from fairlit.adaptors import verify
from fairlit.callbacks import AdaptorCheckpoint
from fairlit.cli import main
from fairlit.errors import ConfigurationError

CHANGES = {"trainer.max_steps": 2, "data.init_args.images_per_prompt": 2}


def test_what_was_saved_before_stays_where_the_new_one_fails_its_check(
    tiny_config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    finished_runs: FinishedRuns,
) -> None:
    run = tmp_path / "broken"
    finished_runs.fit(variant(tiny_config, run, CHANGES))
    before = {path: path.read_bytes() for path in run.glob("adaptor*/*")}
    assert len(before) == 4  # file and card of the adaptor and of its average
    monkeypatch.setitem(verify.TOLERANCES, torch.float32, -1.0)
    longer = variant(tiny_config, run, {**CHANGES, "trainer.max_steps": 4})
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--config", str(longer), "--ckpt_path", str(last_checkpoint(run))])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert f"{run / 'adaptor' / 'pytorch_lora_weights.safetensors'}: a fresh pipeline" in message
    assert f"{run / 'adaptor'} is as it was before" in message
    assert {path: path.read_bytes() for path in run.glob("adaptor*/*")} == before
    assert not list(run.glob(".*"))


def monitored(steps: int, monitor: str = "val/made", mode: str = "min") -> dict[str, Any]:
    """Changes of a config: a validation after each step, whose figure decides which adaptor is kept."""
    validation = {
        "trainer.val_check_interval": 1,
        "trainer.limit_val_batches": 1,
        "data.init_args.validation_images": 1,
    }
    keeping = {
        "class_path": "fairlit.callbacks.AdaptorCheckpoint",
        "init_args": {"monitor": monitor, "mode": mode, "verify": False},
    }
    figures = {"class_path": "stand_ins.LogsFigures", "init_args": {"figures": [3.0, 1.0, float("nan"), 2.0]}}
    return {**CHANGES, **validation, "trainer.max_steps": steps, "trainer.callbacks": [figures, keeping, LAST]}


LAST = {
    "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
    "init_args": {"every_n_train_steps": 1, "save_top_k": 0, "save_last": True},
}


def test_the_adaptor_of_the_best_validation_is_kept_also_over_a_resume(
    tiny_config: Path, tmp_path: Path, finished_runs: FinishedRuns
) -> None:
    two, broken = tmp_path / "two", tmp_path / "broken"
    finished_runs.fit(variant(tiny_config, two, {**CHANGES, "trainer.max_steps": 2}))
    main(["fit", "--config", str(variant(tiny_config, broken, monitored(3)))])
    resumed = variant(tiny_config, broken, monitored(4))
    main(["fit", "--config", str(resumed), "--ckpt_path", str(last_checkpoint(broken))])
    assert same_content(adaptors(broken), adaptors(two))


def test_where_more_is_better_the_adaptor_of_the_largest_figure_is_kept(tiny_config: Path, tmp_path: Path) -> None:
    one, kept = tmp_path / "one", tmp_path / "kept"
    main(["fit", "--config", str(variant(tiny_config, one, {**CHANGES, "trainer.max_steps": 1}))])
    main(["fit", "--config", str(variant(tiny_config, kept, monitored(2, mode="max")))])
    assert same_content(adaptors(kept), adaptors(one))
    with pytest.raises(ConfigurationError, match="mode: got 'most'; expected one of min, max"):
        AdaptorCheckpoint(monitor="val/made", mode="most")  # type: ignore[arg-type]


def test_a_figure_that_no_validation_logs_is_refused(
    tiny_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--config", str(variant(tiny_config, tmp_path / "run", monitored(1, "val/mode")))])
    assert "monitor: got val/mode; expected a figure of validation: val/made; give" in capsys.readouterr().err
    with pytest.raises(ConfigurationError, match="every_n_steps, monitor: got 5 and val/made"):
        AdaptorCheckpoint(every_n_steps=5, monitor="val/made")


def test_without_a_validation_the_last_adaptor_is_kept_and_that_is_said(
    tiny_config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    main(["fit", "--config", str(variant(tiny_config, run, {**monitored(1), "trainer.limit_val_batches": 0}))])
    assert adaptors(run)
    assert "no validation gave a number for val/made, so the last adaptor is kept" in caplog.text
