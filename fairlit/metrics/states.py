"""Reading the list states of a metric."""

from __future__ import annotations

import torch
from torch import Tensor


def joined(state: list[Tensor] | Tensor) -> Tensor:
    """A flat state on the CPU, whether it was gathered from other ranks, only appended to, or never touched.

    Example:
        >>> joined([torch.ones(2), torch.zeros(1)])
        tensor([1., 1., 0.])
    """
    if isinstance(state, Tensor):
        return state.cpu()
    return torch.cat(state).cpu() if state else torch.zeros(0)
