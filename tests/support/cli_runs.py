"""Runs of the command line in processes of their own, and comparison of what they leave behind."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

SUPPORT = Path(__file__).parent
ROOT = SUPPORT.parents[1]


def run_fairlit(
    *arguments: str | Path, timeout: float = 300, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """``fairlit ARGUMENTS`` in a process that may die, in a folder; its output is kept as text."""
    command = [sys.executable, "-P", "-m", "fairlit.cli", *map(str, arguments)]  # -P: as installed commands do
    paths = os.pathsep.join(map(str, (SUPPORT, ROOT)))
    settings = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PL_", "COV_"))}
    return subprocess.run(
        command, cwd=folder, env=environment | settings, capture_output=True, text=True, timeout=timeout, check=False
    )


def variant(config: Path, run: Path, changes: Mapping[str, Any] | None = None, callbacks: Any = ()) -> Path:
    """A copy of `config` with its run in another folder, dotted keys changed, and callbacks put in front."""
    content = yaml.safe_load(config.read_text())
    content["trainer"]["default_root_dir"] = str(run)
    content["trainer"]["callbacks"][:0] = callbacks
    for key, value in (changes or {}).items():
        *path, last = key.split(".")
        node = content
        for name in path:
            node = node[name]
        node[last] = copy.deepcopy(value)
    file = run.parent / f"{run.name}.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def last_checkpoint(run: Path) -> Path:
    return run / "checkpoints" / "last.ckpt"


def read_checkpoint(path: Path) -> dict[str, Any]:
    return dict(torch.load(path, weights_only=True))


def adaptors(run: Path) -> dict[str, Tensor]:
    """Every tensor of both adaptor files of a run."""
    return {
        f"{folder}/{name}": tensor
        for folder in ("adaptor", "adaptor_ema")
        for name, tensor in load_file(run / folder / "pytorch_lora_weights.safetensors").items()
    }


def largest_difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Largest absolute difference between tensors of the same name."""
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def same_content(one: Any, other: Any) -> bool:
    """Whether nested mappings and sequences hold the same values, tensors bit for bit."""
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same_content(value, other[name]) for name, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same_content, one, other))
    return bool(one == other)
