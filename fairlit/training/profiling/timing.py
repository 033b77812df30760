"""Where the seconds of a step go."""

from __future__ import annotations

import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class PhaseTimer:
    """Adds up the seconds of named phases.

    On a GPU each phase waits for its kernels, once at its end: the phases of a step depend on each other anyway.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._started: dict[str, float] = {}

    @contextmanager
    def measure(self, phase: str) -> Iterator[None]:
        """Time a block."""
        self.start(phase)
        try:
            yield
        finally:
            self.stop(phase)

    def start(self, phase: str) -> None:
        """Begin a phase that ends elsewhere."""
        self._started[phase] = time.perf_counter()

    def stop(self, phase: str) -> None:
        """End a phase."""
        if phase in self._started:
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()
            self._seconds[phase] += time.perf_counter() - self._started.pop(phase)

    def collect(self) -> dict[str, float]:
        """Return the seconds by phase since the last call."""
        seconds = dict(self._seconds)
        self._seconds.clear()
        return seconds


def peak_memory() -> float:
    """Return the most memory used so far in GiB: of the GPU where one is in use, else of this process."""
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**30
    unit = 1 if sys.platform == "darwin" else 2**10  # bytes on macOS, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
