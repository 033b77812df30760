"""The benchmark of engines and the convergence script, on the miniature and very short."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from script_runs import run_script

ROOT = Path(__file__).parents[2]
IMAGES, STEPS = 3, 2


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_engines_have_one_gradient_and_the_promised_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = f"--data.init_args.images_per_prompt={IMAGES}"
    options = ["--rounds", "1", "--steps", str(STEPS), "--engines", "a,b,b2,c,d32,e,f2", f"--set={size}"]
    run_script("benchmark_step", *options, "--out", tmp_path)
    result = json.loads((tmp_path / "benchmark_step.json").read_text())
    engines = result["engines"]
    for name in ("b", "b2", "c", "d32", "e"):
        assert engines[name]["gradient_difference"] < 1e-4, name
    assert engines["f2"]["gradient_difference"] > 1e-4  # a random half is another gradient
    call = 2 * IMAGES * STEPS  # with guidance
    forwards = {name: row["unet_sample_forwards"] for name, row in engines.items()}
    # Sampling twice or thrice, the replay, and where it is checkpointed once more.
    times = {"a": 4, "b": 4, "b2": 3, "c": 3, "d32": 3, "e": 2, "f2": 1.5}
    assert forwards == {name: call * count for name, count in times.items()}
    backwards = {name: row["unet_sample_backwards"] for name, row in engines.items()}
    assert backwards == dict.fromkeys(["a", "b", "b2", "c", "d32", "e"], call) | {"f2": call // 2}
    assert all(row["peak_bytes"] > 0 for row in engines.values())
    assert engines["a"]["times_faster"] == 1
    assert engines["a"]["mfu"] < engines["a"]["hfu"]
    assert engines["c"]["mfu"] == engines["c"]["hfu"]
    printed = capsys.readouterr().out
    assert "| c: b2, micro-batch chosen, originals beside |" in printed


def test_unknown_engines_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--engines: z unknown; choose from a, b"):
        run_script("benchmark_step", "--engines", "a,z", "--out", tmp_path)


def test_convergence_goes_on_where_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--seeds", "1", "--steps", "2", "--every", "1", "--images", "2", "--prompts", "1", "--out", tmp_path]
    run_script("convergence", *options, "--only", "replay;full back-propagation")
    printed = capsys.readouterr().out
    assert "replay, seed 0: bias" in printed
    for suffix in (".png", ".svg"):
        assert (tmp_path / f"convergence{suffix}").stat().st_size > 1000
    curve = json.loads((tmp_path / "replay_0.json").read_text())
    assert curve["steps"] == [0, 1, 2]
    assert curve["seconds"] == sorted(curve["seconds"])
    images, steps = 12, sum(range(4, 7))  # of demo.yaml: 4 to 6 solver steps an iteration
    assert 0 < curve["evaluations"][-1] <= 2 * steps * images * 2 * 4
    probes = 2 * (1 + 3)  # of one and of three pairs, which tell how many activations can be kept
    assert (curve["evaluations"][-1] - probes) % (2 * images) == 0
    run_script("convergence", *options, "--only", "replay;full back-propagation")
    assert "seed 0: bias" not in capsys.readouterr().out
