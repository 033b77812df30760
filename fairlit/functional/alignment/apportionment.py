"""Shares turned into whole numbers: which place of a set gets which class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_ROUNDING = 1e-9  # cumulated shares that are off a whole number by less are that number


def apportion(shares: Tensor, count: int, key: Sequence[int]) -> Tensor:
    """Gives each of `count` places a class, such that every class gets its share as exactly as whole numbers allow.

    Systematic sampling (Madow and Madow, 1944): the places are laid out over the cumulated shares at equal distances
    from a random start, and their classes are shuffled. A class of share p gets either floor(p count) or
    ceil(p count) places, p count on average over keys; so does any run of classes that follow each other, and with a
    joint table in row-major order therefore every class of the first attribute.

    Args:
        shares: float [K], at least 0, summing to 1.
        count: number of places, 0 or more.
        key: of the random start and order, integers of at least 0; equal keys give equal results.

    Returns:
        int64 [count], classes in 0..K - 1, on the CPU.

    Example:
        >>> labels = apportion(torch.tensor([0.25, 0.75]), 8, (0,))
        >>> labels.bincount().tolist()
        [2, 6]
    """
    rng = np.random.default_rng(list(key))
    edges = shares.double().cpu().cumsum(0) * count
    whole = edges.round()
    edges = torch.where((edges - whole).abs() < _ROUNDING, whole, edges)
    edges[-1] = count
    places = torch.arange(count, dtype=torch.float64) + rng.random()
    labels = torch.searchsorted(edges, places, right=True).clamp(max=len(edges) - 1)
    return labels[torch.from_numpy(rng.permutation(count))]
