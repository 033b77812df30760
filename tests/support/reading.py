"""Models that are read from disk once a process, however often tests open them."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline, ModelMixin
from transformers import PreTrainedModel

from fairlit.faces import AttributeClassifier

READERS = (
    (DiffusionPipeline, "from_pretrained"),
    (ModelMixin, "from_pretrained"),
    (PreTrainedModel, "from_pretrained"),
    (AttributeClassifier, "load"),
)
KEPT = 24  # of each
_PLAIN = (str, int, float, Path, torch.dtype, type(None))


class ReadOnce:
    """Takes the place of a class method that reads a folder: a copy of what the same folder gave before.

    A folder is the same while the sizes and times of its files are, so a test may damage one and open it again.

    Args:
        read: function behind the method, given the class first.
    """

    def __init__(self, read: Callable[..., Any]) -> None:
        self.read = read
        self.kept: OrderedDict[Hashable, Any] = OrderedDict()

    def __call__(self, kind: type, *places: Any, **settings: Any) -> Any:
        """What ``kind.method(*places, **settings)`` gives; kept where there is one place, a folder."""
        plain = len(places) == 1 and all(isinstance(value, _PLAIN) for value in (*places, *settings.values()))
        if not plain or not Path(folder := places[0]).is_dir():
            return self.read(kind, *places, **settings)
        defaults = (torch.get_default_dtype(), torch.get_default_device())  # of what is made on the way
        place = (str(Path(folder).absolute()), _stamp(Path(folder)))
        key = (kind, place, tuple(sorted(settings.items())), defaults)
        if key not in self.kept:
            with torch.random.fork_rng(devices=[]):  # reading draws random numbers, copying does not
                self.kept[key] = self.read(kind, folder, **settings)
        self.kept.move_to_end(key)
        while len(self.kept) > KEPT:
            self.kept.popitem(last=False)
        return copy.deepcopy(self.kept[key])


@contextmanager
def read_once() -> Iterator[None]:
    """Within the block the methods of `READERS` copy what this process has read before."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in READERS:
            patch.setattr(owner, name, _class_method(ReadOnce(getattr(owner, name).__func__)))
        yield


def _class_method(function: Callable[..., Any]) -> Any:
    return classmethod(lambda kind, *places, **settings: function(kind, *places, **settings))


def _stamp(folder: Path) -> Hashable:
    """Name, size and time of every file."""
    stats = [(str(path), path.stat()) for path in sorted(folder.rglob("*"))]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
