"""Several processes learn what one learns: the images of a step are shared out, not multiplied."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_runs import (
    adaptors,
    largest_difference,
    last_checkpoint,
    read_checkpoint,
    run_installed,
    same_content,
    variant,
)

from fairlit.cli import main

OVERLAYS = Path(__file__).parents[2] / "configs" / "strategies"
CLIPPED_SGD = {
    "trainer.gradient_clip_val": 1e-4,  # a tenth of the gradients' norm here
    "model.init_args.optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 1000.0}},
}
GENTLE_ADAM = {"model.init_args.optimizer.init_args.lr": 1e-3}
POOLED = GENTLE_ADAM | {"model.init_args.reference_images": {"noise_pool": 1}}
EVERY_FACE = GENTLE_ADAM | {
    "model.init_args.faces": "all",
    "model.init_args.alignment.equal": "image",
}
ACCUMULATED = {"trainer.accumulate_grad_batches": 2, "trainer.max_steps": 2}
RANGE = {"model.init_args.sampling.min_guidance_scale": 1.5, "model.init_args.sampling.max_guidance_scale": 6.0}


def run_with_two(command: str, config: Path, strategy: str, *more: str) -> None:
    overlay = OVERLAYS / f"{strategy}.yaml"
    done = run_installed(command, "--config", config, "--config", overlay, "--trainer.devices", "2", *more)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("strategy", "changes"),
    [
        ("ddp", CLIPPED_SGD | ACCUMULATED | RANGE),
        pytest.param("ddp", GENTLE_ADAM, marks=pytest.mark.slow),
        pytest.param("ddp", GENTLE_ADAM | {"data.init_args.images_per_prompt": 2}, marks=pytest.mark.slow),
        pytest.param("fsdp2", CLIPPED_SGD | ACCUMULATED, marks=pytest.mark.slow),
        pytest.param("fsdp2", GENTLE_ADAM, marks=pytest.mark.slow),
        pytest.param("fsdp2", POOLED, marks=pytest.mark.slow),
        pytest.param("ddp", EVERY_FACE, marks=pytest.mark.slow),
    ],
)
def test_two_processes_equal_one(
    tiny_config: Path, tmp_path: Path, strategy: str, changes: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Five images, so that one process has one more; or two, so that often a process has no face or neither has."""
    one, two = tmp_path / "one", tmp_path / "two"
    if changes is POOLED:
        changes = changes | {"model.init_args.reference_images": {"noise_pool": 1, "cache": str(tmp_path / "kept")}}
    main(["fit", "--config", str(variant(tiny_config, one, changes))])
    run_with_two("fit", variant(tiny_config, two, changes), strategy)
    trained = adaptors(one)
    assert max(float(tensor.abs().max()) for name, tensor in trained.items() if "lora_B" in name) > 1e-3  # from zero
    found = largest_difference(trained, adaptors(two))
    with capsys.disabled():
        print(f"\n{strategy}, {', '.join(changes) or 'AdamW'}: largest difference {found:.1e}")
    assert found < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_resuming_with_another_number_of_processes(tiny_config: Path, tmp_path: Path, strategy: str) -> None:
    """Two processes begin, validating on the way, one goes on, two end: still what one learns."""
    changes = GENTLE_ADAM | {
        "trainer.max_steps": 6,
        "trainer.val_check_interval": 2,
        "trainer.limit_val_batches": 1,
    }
    one, mixed = tmp_path / "one", tmp_path / "mixed"
    main(["fit", "--config", str(variant(tiny_config, one, changes))])
    config, checkpoint = variant(tiny_config, mixed, changes), last_checkpoint(mixed)
    run_with_two("fit", config, strategy, "--trainer.max_steps", "2")
    main(["fit", "--config", str(config), "--ckpt_path", str(checkpoint), "--trainer.max_steps", "4"])
    assert read_checkpoint(checkpoint)["global_step"] == 4
    run_with_two("fit", config, strategy, "--ckpt_path", str(checkpoint))
    assert read_checkpoint(checkpoint)["global_step"] == 6
    assert largest_difference(adaptors(one), adaptors(mixed)) < 1e-5
    run_with_two("test", config, strategy, "--ckpt_path", str(checkpoint))
    main(["test", "--config", str(variant(tiny_config, one, changes)), "--ckpt_path", str(last_checkpoint(one))])
    found, expected = (json.loads((run / "summary.json").read_text())["after"] for run in (mixed, one))
    assert found["images"] == expected["images"] == 6
    assert found["joint_classes"]["frequencies"] == pytest.approx(expected["joint_classes"]["frequencies"])
    assert found["clip_i"] == pytest.approx(expected["clip_i"], abs=1e-4)
    run_with_two("predict", config, strategy, "--ckpt_path", str(checkpoint))
    assert len((mixed / "images" / "manifest.jsonl").read_text().splitlines()) == 6
    assert len(list((mixed / "images").rglob("*.png"))) == 6


@pytest.mark.slow
def test_two_processes_that_are_stopped_and_resumed_learn_the_very_same(tiny_config: Path, tmp_path: Path) -> None:
    """Also where a rank with more images could keep more activations: in half precision casts of weights come first."""
    changes = GENTLE_ADAM | {
        "model.init_args.replay": {"keep": 0.005},
        "trainer.max_steps": 4,
        "trainer.precision": "bf16-mixed",
    }
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    run_with_two("fit", variant(tiny_config, whole, changes), "ddp")
    config = variant(tiny_config, stopped, changes)
    run_with_two("fit", config, "ddp", "--trainer.max_steps", "2")
    run_with_two("fit", config, "ddp", "--ckpt_path", "last")
    kept = read_checkpoint(last_checkpoint(stopped))["chain_gradient"]["kept"]
    assert 0 < kept < 2 * 2  # of the two images of the second process, at two or three evaluations
    assert same_content(adaptors(whole), adaptors(stopped))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_when_one_process_is_killed_the_others_end_too(tiny_config: Path, tmp_path: Path, strategy: str) -> None:
    """No hang: what the others wait for never comes. The last checkpoint is whole, and training goes on from it."""
    run = tmp_path / "run"
    killer = {"class_path": "stand_ins.KillLastRank", "init_args": {"batch": 3}}
    config = variant(tiny_config, run, {"trainer.max_steps": 40}, [killer])
    arguments = ("--config", config, "--config", OVERLAYS / f"{strategy}.yaml", "--trainer.devices", "2")
    done = run_installed("fit", *arguments, timeout=240)  # a hang would be cut off there, with an exception
    assert done.returncode != 0
    checkpoint = last_checkpoint(run)
    assert read_checkpoint(checkpoint)["global_step"] == 2
    healthy = variant(tiny_config, run, {"trainer.max_steps": 4})
    main(["fit", "--config", str(healthy), "--ckpt_path", str(checkpoint)])
    assert read_checkpoint(checkpoint)["global_step"] == 4
