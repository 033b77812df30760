"""Pipelines that are read from disk once a process, however often tests open them."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline

KEPT = 8
_PLAIN = (str, int, float, Path, torch.dtype, type(None))


class ReadOnce:
    """Takes the place of `DiffusionPipeline.from_pretrained`: a copy of what the same folder gave before.

    A folder is the same while the sizes and times of its files are, so a test may damage one and open it again.

    Args:
        read: the method itself, given the class first.
    """

    def __init__(self, read: Callable[..., DiffusionPipeline]) -> None:
        self.read = read
        self.kept: OrderedDict[Hashable, DiffusionPipeline] = OrderedDict()

    def __call__(self, kind: type[DiffusionPipeline], source: str | Path, **settings: Any) -> DiffusionPipeline:
        if not Path(source).is_dir() or not all(isinstance(value, _PLAIN) for value in settings.values()):
            return self.read(kind, source, **settings)
        key = (kind, str(source), tuple(sorted(settings.items())), _stamp(Path(source)))
        if key not in self.kept:
            with torch.random.fork_rng(devices=[]):  # reading draws random numbers, copying does not
                self.kept[key] = self.read(kind, source, **settings)
        self.kept.move_to_end(key)
        found = copy.deepcopy(self.kept[key])
        while len(self.kept) > KEPT:
            self.kept.popitem(last=False)
        return found


def _stamp(folder: Path) -> Hashable:
    """Name, size and time of every file."""
    stats = [(str(path), path.stat()) for path in sorted(folder.rglob("*"))]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
