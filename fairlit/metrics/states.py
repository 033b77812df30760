"""Metrics whose results are records, and reading their list states."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import override


class _Sealed:
    """Keeps a record from torchmetrics, which looks for tensors in what is computed and refuses frozen dataclasses."""

    def __init__(self, record: Any) -> None:
        self.record = record


class RecordMetric(Metric):
    """A metric that computes a frozen dataclass."""

    @override
    def _wrap_compute(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        wrapped = super()._wrap_compute(functools.wraps(compute)(lambda: _Sealed(compute())))
        return functools.wraps(compute)(lambda: wrapped().record)


def joined(state: list[Tensor] | Tensor) -> Tensor:
    """Return a flat state on the CPU, whether it was gathered from other ranks, only appended to, or never touched.

    Example:
        >>> joined([torch.ones(2), torch.zeros(1)])
        tensor([1., 1., 0.])
    """
    if isinstance(state, Tensor):
        return state.cpu()
    return torch.cat(state).cpu() if state else torch.zeros(0)
