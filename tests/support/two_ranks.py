"""Work done by two processes that talk through gloo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

WORLD = 2


def on_two_ranks(work: Callable[[], object], folder: Path) -> list[dict[str, Any]]:
    """Return what `work` gives on each rank: tensors and numbers by name."""
    # Forked, because starting afresh and importing everything would take ten times as long.
    mp.start_processes(_run, (folder, work), nprocs=WORLD, start_method="fork")
    return [torch.load(folder / f"{number}.pt", weights_only=True) for number in range(WORLD)]


def _run(number: int, folder: Path, work: Callable[[], object]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=number, world_size=WORLD)
    try:
        torch.save(work(), folder / f"{number}.pt")
    finally:
        dist.destroy_process_group()
