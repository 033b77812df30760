"""Random subsets of a chain's model evaluations that keep sums over all evaluations unbiased."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fairlit.errors import ConfigurationError


def subset_size(num_evaluations: int, fraction: float) -> int:
    """How many of `num_evaluations` evaluations a share of them is: rounded, and at least one."""
    return max(1, round(fraction * num_evaluations))


def stratified_evaluations(num_evaluations: int, size: int, images: int, *, seed: tuple[int, ...]) -> Tensor:
    """Draws evaluations for each of several images: one from each of `size` equal stretches of the chain.

    The chain [0, S) is cut into stretches of length S / size. From each, one point is drawn evenly, and the evaluation
    that it falls into is taken. So every evaluation is drawn size / S times in expectation, and S / size times the sum
    over what was drawn is an unbiased estimate of the sum over all evaluations. Each stretch is always represented, the
    two ends too. Where stretches end inside an evaluation, it can be drawn from both: it then counts twice.

    Args:
        num_evaluations: S, at least 1.
        size: evaluations drawn for an image, from 1 to S. At S all are taken, in their order.
        images: N; each image has draws of its own.
        seed: names the draws, numbers from 0.

    Returns:
        LongTensor [N, size], ascending along each row.

    Raises:
        ConfigurationError: `size` is out of range.
    """
    if not 1 <= size <= num_evaluations:
        raise ConfigurationError(
            f"size: got {size} of {num_evaluations} evaluations; give a number from 1 to {num_evaluations}"
        )
    if size == num_evaluations:
        return torch.arange(num_evaluations).repeat(images, 1)
    points = np.arange(size) + np.random.default_rng(seed).random((images, size))
    evaluations = np.floor(points * num_evaluations / size).astype(np.int64)
    return torch.from_numpy(np.minimum(evaluations, num_evaluations - 1))
