"""Several processes learn what one learns: the images of a step are shared out, not multiplied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from runs import adaptors, largest_difference, run_fairlit, variant

from fairlit.cli import main

OVERLAYS = Path(__file__).parents[2] / "configs" / "strategies"
CLIPPED_SGD = {
    "trainer.gradient_clip_val": 1e-4,  # a tenth of the gradients' norm here
    "model.init_args.optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 1000.0}},
}
GENTLE_ADAM = {"model.init_args.optimizer.init_args.lr": 1e-3}
ACCUMULATED = {"trainer.accumulate_grad_batches": 2, "trainer.max_steps": 2}


def fit_with_two(config: Path, strategy: str, *more: str) -> None:
    overlay = OVERLAYS / f"{strategy}.yaml"
    sizes = ["--trainer.devices", "2"]
    if strategy == "fsdp2":
        sizes += ["--trainer.strategy.init_args.data_parallel_size", "2"]
    done = run_fairlit("fit", "--config", config, "--config", overlay, *sizes, *more)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("strategy", "changes"),
    [
        ("ddp", CLIPPED_SGD | ACCUMULATED),
        pytest.param("ddp", GENTLE_ADAM, marks=pytest.mark.slow),
        pytest.param("ddp", GENTLE_ADAM | {"data.init_args.images_per_prompt": 2}, marks=pytest.mark.slow),
        pytest.param("fsdp2", CLIPPED_SGD | ACCUMULATED, marks=pytest.mark.slow),
        pytest.param("fsdp2", GENTLE_ADAM, marks=pytest.mark.slow),
    ],
)
def test_two_processes_equal_one(
    tiny_config: Path, tmp_path: Path, strategy: str, changes: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Five images, so that one process has one more; or two, so that often a process has no face or neither has."""
    one, two = tmp_path / "one", tmp_path / "two"
    main(["fit", "--config", str(variant(tiny_config, one, changes))])
    fit_with_two(variant(tiny_config, two, changes), strategy)
    trained = adaptors(one)
    assert max(float(tensor.abs().max()) for name, tensor in trained.items() if "lora_B" in name) > 1e-3  # from zero
    found = largest_difference(trained, adaptors(two))
    with capsys.disabled():
        print(f"\n{strategy}, {', '.join(changes) or 'AdamW'}: largest difference {found:.1e}")
    assert found < 1e-5
