"""An adaptor takes the place of the one before when it has been checked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from cli_runs import last_checkpoint, variant

from fairlit.adaptors import verify
from fairlit.cli import main

CHANGES = {"trainer.max_steps": 2, "data.init_args.images_per_prompt": 2}


def test_what_was_saved_before_stays_where_the_new_one_fails_its_check(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "broken"
    main(["fit", "--config", str(variant(tiny_config, run, CHANGES))])
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
