"""Runs of the command line in processes of their own, and comparison of what they leave behind."""

from __future__ import annotations

import copy
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

SUPPORT = Path(__file__).parent
ROOT = SUPPORT.parents[1]


_PRELOADED = [
    "fairlit.commands.training",
    "fairlit.auditing.run",
    "fairlit.comparison.run",
    "fairlit.editing.run",
    "fairlit.generation.run",
    "fairlit.diffusion.backbone",
]
_SETTINGS = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}


def _environment() -> dict[str, str]:
    """What every process of a test gets."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PL_", "COV_"))} | _SETTINGS


def run_installed(*arguments: str | Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """``fairlit ARGUMENTS`` by a new interpreter, which may start others (as Lightning's processes of a node)."""
    command = [sys.executable, "-P", "-m", "fairlit.cli", *map(str, arguments)]  # -P: as installed commands do
    environment = _environment() | {"PYTHONPATH": os.pathsep.join(map(str, (SUPPORT, ROOT)))}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=False)


def run_fairlit(
    *arguments: str | Path, timeout: float = 300, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """``fairlit ARGUMENTS`` in a process that may die, in a folder; its output is kept as text.

    The process is forked from a server that has imported what the commands need: nothing of this process reaches
    it, and it does without the seconds that importing takes.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    texts = [str(argument) for argument in arguments]
    with tempfile.TemporaryDirectory() as output:
        streams = [Path(output) / name for name in ("stdout", "stderr")]
        process = context.Process(target=run_in_fork, args=(texts, folder or Path.cwd(), streams, _environment()))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(["fairlit", *texts], timeout)
        stdout, stderr = (stream.read_text() for stream in streams)
        return subprocess.CompletedProcess(["fairlit", *texts], process.exitcode, stdout, stderr)


def run_in_fork(arguments: list[str], folder: Path, streams: list[Path], environment: dict[str, str]) -> None:
    """What the forked process does: be as a new one that was started in the folder, then run the command."""
    for descriptor, stream in zip((1, 2), streams, strict=True):
        file = os.open(stream, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, descriptor)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = [str(SUPPORT), str(ROOT), *filter(None, sys.path)]  # as installed commands do: no current folder
    sys.argv = ["fairlit", *arguments]
    from fairlit.cli import main

    main(arguments)


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
