"""The benchmark of engines and the convergence script, on the miniature and very short."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from script_runs import demo_of_few_images, load_script, run_script

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
    images = 5
    options = ["--seeds", "1", "--steps", "2", "--every", "1", "--images", "2", "--prompts", "1", "--out", tmp_path]
    options += demo_of_few_images(tmp_path, images)
    run_script("convergence", *options, "--only", "replay;full back-propagation")
    printed = capsys.readouterr().out
    assert "replay, seed 0: bias" in printed
    for suffix in (".png", ".svg"):
        assert (tmp_path / f"convergence{suffix}").stat().st_size > 1000
    curve = json.loads((tmp_path / "replay_0.json").read_text())
    assert curve["steps"] == [0, 1, 2]
    assert curve["seconds"] == sorted(curve["seconds"])
    steps = sum(range(4, 7))  # of demo.yaml: 4 to 6 solver steps an iteration
    assert 0 < curve["evaluations"][-1] <= 2 * steps * images * 2 * 4
    probes = 2 * (1 + 3)  # of one and of three pairs, which tell how many activations can be kept
    assert (curve["evaluations"][-1] - probes) % (2 * images) == 0
    run_script("convergence", *options, "--only", "replay;full back-propagation")
    assert "seed 0: bias" not in capsys.readouterr().out


def test_approximations_are_measured_by_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--seeds", "1", "--steps", "1", "--every", "1", "--images", "2", "--prompts", "1", "--out", tmp_path]
    options += ["--panels", "approximations", "--bias", "2", *demo_of_few_images(tmp_path, 5)]
    quickest = "3 to 4 solver steps, half replayed, originals cached"
    run_script("convergence", *options, "--only", quickest)
    printed = capsys.readouterr().out
    assert "seconds to 2, by seed" in printed
    row = next(line for line in printed.splitlines() if line.startswith(f"| {quickest} |"))
    assert row.endswith("| 0 |")  # no bias is above 1
    assert (tmp_path / "convergence.png").stat().st_size > 1000
    with pytest.raises(SystemExit, match="--panels: got speed; expected names with commas; give engines, gradients"):
        run_script("convergence", "--panels", "speed", "--out", tmp_path)


def test_seconds_to_a_bias_are_read_off_the_line() -> None:
    curve = load_script("convergence").Curve(
        steps=[0, 1, 2, 3], seconds=[0.0, 10.0, 20.0, 30.0], bias=[0.6, 0.4, 0.5, 0.1]
    )
    assert curve.seconds_to(0.7) == 0.0
    assert curve.seconds_to(0.5) == pytest.approx(5.0)  # half of the way from 0.6 to 0.4
    assert curve.seconds_to(0.2) == pytest.approx(20.0 + 10.0 * (0.5 - 0.2) / (0.5 - 0.1))
    assert curve.seconds_to(0.05) is None
