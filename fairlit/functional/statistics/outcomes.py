"""The multinomial distribution: all outcomes of n images in K classes, and their probabilities.

From `scipy.special` alone, as elsewhere in this package: importing `scipy.stats` takes half a second.
"""

from __future__ import annotations

import numpy as np
from scipy import special


def outcomes(n: int, classes: int) -> np.ndarray:
    """All ways to share n images out among classes: int64 [M, K], M = (n + K - 1)! / (n! (K - 1)!).

    Example:
        >>> outcomes(2, 2).tolist()
        [[0, 2], [1, 1], [2, 0]]
    """
    rows, left = np.zeros((1, 0), dtype=np.int64), np.array([n])
    for _ in range(classes - 1):
        repeats = left + 1
        starts = np.repeat(repeats.cumsum() - repeats, repeats)
        taken = np.arange(repeats.sum()) - starts
        rows = np.concatenate([np.repeat(rows, repeats, axis=0), taken[:, None]], axis=1)
        left = np.repeat(left, repeats) - taken
    return np.concatenate([rows, left[:, None]], axis=1)


def log_probability(counts: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the log-probability of outcomes.

    Args:
        counts: images per class, whole numbers [..., K].
        shares: of the classes, [K] or of a shape that broadcasts with that of `counts`.

    Returns:
        float64 [...]; minus infinity where a class occurs that has no share.

    Example:
        >>> np.exp(log_probability(np.array([[2, 0], [1, 1]]), np.array([0.5, 0.5]))).round(9).tolist()
        [0.25, 0.5]
    """
    orders = special.gammaln(counts.sum(axis=-1) + 1) - special.gammaln(counts + 1).sum(axis=-1)
    return orders + special.xlogy(counts, shares).sum(axis=-1)
