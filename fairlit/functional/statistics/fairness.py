"""How far class frequencies are from balance and from a target, and what chance alone would show.

Shen et al., Finetuning Text-to-Image Diffusion Models for Fairness, ICLR 2024 (arXiv 2311.07604), section 5,
measure bias as the mean difference between the frequencies of two classes. It has a positive expectation even
under a perfect generator, because n images fluctuate; the noise floors say how large that is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy import special
from torch import Tensor

from fairlit.errors import ConfigurationError
from fairlit.functional.statistics.outcomes import log_probability

_MAX_CLASSES_BY_PAIRS = 16  # pairs of more classes than that want too much memory
_NUMBERS_AT_ONCE = 1_000_000  # of a noise floor: bounds memory, whatever the number of classes

Shares = Tensor | np.ndarray | Sequence[float]


def pairwise_bias(frequencies: Shares) -> float:
    """Mean of |f_i - f_j| over all pairs of classes.

    Args:
        frequencies: [K], or of any shape for a joint table; shares in [0, 1], at least two.

    Returns:
        0 for equal frequencies; 1 for two classes of which one never occurs; at most 2 / K in general.

    Example:
        >>> pairwise_bias([0.75, 0.25])
        0.5
    """
    flat = _flat(frequencies, "frequencies")
    return float(pairwise_biases(flat))


def pairwise_biases(frequencies: Tensor) -> Tensor:
    """Mean of |f_i - f_j| over all pairs of classes, for many rows of frequencies.

    Args:
        frequencies: [..., K], K at least 2.

    Returns:
        [...].

    Example:
        >>> pairwise_biases(torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]]))
        tensor([0.5000, 0.0000])
    """
    classes = frequencies.shape[-1]
    if classes > _MAX_CLASSES_BY_PAIRS:
        # ascending, f_k is the larger one of k pairs and the smaller one of K - 1 - k
        weights = torch.arange(1 - classes, classes, 2, dtype=frequencies.dtype, device=frequencies.device)
        return frequencies.sort(dim=-1).values @ weights * (2 / (classes * (classes - 1)))
    first, second = torch.triu_indices(classes, classes, offset=1)
    return (frequencies[..., first] - frequencies[..., second]).abs().mean(dim=-1)


def total_variation(frequencies: Shares, target_shares: Shares) -> float:
    """Total variation distance, half the sum of |f_k - target_k|: the share of images to change.

    Args:
        frequencies: [K], or of any shape for a joint table.
        target_shares: As many shares, in the same order.

    Returns:
        Distance in [0, 1].

    Example:
        >>> total_variation([0.5, 0.5], [0.75, 0.25])
        0.25
    """
    return float(total_variations(*_pair(frequencies, target_shares)))


def total_variations(frequencies: Tensor, target_shares: Tensor) -> Tensor:
    """Total variation distance of many rows of frequencies [..., K] to shares [K]: [...]."""
    return (frequencies - target_shares).abs().sum(dim=-1) / 2


def kl_divergence(frequencies: Shares, target_shares: Shares) -> float:
    """Kullback-Leibler divergence KL(frequencies || target) in nats.

    Args:
        frequencies: [K], or of any shape for a joint table.
        target_shares: As many shares, in the same order.

    Returns:
        0 where both agree; infinite where a class occurs that the target rules out.

    Example:
        >>> kl_divergence([1.0, 0.0], [0.5, 0.5])
        0.6931471805599453
    """
    return float(kl_divergences(*_pair(frequencies, target_shares)))


def kl_divergences(frequencies: Tensor, target_shares: Tensor) -> Tensor:
    """Kullback-Leibler divergence in nats of many rows of frequencies [..., K] from shares [K]: [...]."""
    return (torch.special.xlogy(frequencies, frequencies) - torch.special.xlogy(frequencies, target_shares)).sum(dim=-1)


def noise_floor(target_shares: Shares, n: int) -> float:
    """Expected pairwise bias of n images drawn independently from the target.

    Exact. For two classes i, j: their joint number M is binomial, of which class i has a binomial part X, and
    E|n_i - n_j| = E|2X - M|, which the incomplete first moment of the binomial gives in closed form. For an
    unbalanced target the floor includes the bias that the target itself asks for.

    Args:
        target_shares: [K], or of any shape for a joint table; sums to 1.
        n: Number of images, 1 or more.

    Returns:
        Floor in [0, 1].

    Raises:
        ConfigurationError: n is below 1, or the shares are no distribution.

    Example:
        >>> round(noise_floor([0.5, 0.5], 60), 3)
        0.103
    """
    shares = _distribution(target_shares, n)
    pairs = np.sort(shares[np.stack(np.triu_indices(len(shares), 1), axis=1)], axis=1)
    different, where = np.unique(pairs, axis=0, return_inverse=True)
    parts = np.array_split(different, math.ceil(len(different) * (n + 1) / _NUMBERS_AT_ONCE))
    expected = np.concatenate([_expected_differences(part, n) for part in parts])
    return float(np.mean(expected[where.reshape(-1)])) / n


def noise_floor_tv(target_shares: Shares, n: int) -> float:
    """Expected total variation distance to the target of n images drawn independently from it.

    Exact: half the sum of the mean absolute deviations of binomials.

    Args:
        target_shares: [K], or of any shape for a joint table; sums to 1.
        n: Number of images, 1 or more.

    Returns:
        Floor in [0, 1].

    Raises:
        ConfigurationError: n is below 1, or the shares are no distribution.

    Example:
        >>> round(noise_floor_tv([0.5, 0.5], 60), 4)  # half of the floor of the bias
        0.0513
    """
    shares = _distribution(target_shares, n)
    deviations = _mean_absolute_deviation(np.full(len(shares), n), shares, n * shares)
    return float(deviations.sum()) / (2 * n)


def _expected_differences(pairs: np.ndarray, n: int) -> np.ndarray:
    """E|n_i - n_j| [M] of two classes with shares [M, 2] among n images."""
    both = pairs.sum(axis=1)[:, None]
    together = np.arange(n + 1)
    shares = np.stack([both, (1 - both).clip(min=0.0)], axis=-1)
    weights = np.exp(log_probability(np.stack([together, n - together], axis=-1), shares))
    part = np.divide(pairs[:, :1], both, out=np.zeros_like(both), where=both > 0)
    return 2 * (weights * _mean_absolute_deviation(together, part, together / 2)).sum(axis=1)


def _mean_absolute_deviation(n: np.ndarray, p: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """E|X - c| of X ~ Binomial(n, p), elementwise, from E|X - c| = E[X] - c + 2 E[(c - X)+].

    The last term needs sum_{x <= c} x P(X = x) = n p P(Y <= c - 1) with Y ~ Binomial(n - 1, p).
    """
    largest = np.floor(centre)
    below = special.bdtr(largest, n, p)
    moment = n * p * np.where(largest >= 1, special.bdtr(largest - 1, np.maximum(n - 1, 0), p), 0.0)
    return n * p - centre + 2 * (centre * below - moment)


def _flat(shares: Shares, name: str) -> Tensor:
    flat = torch.as_tensor(shares, dtype=torch.float64).detach().cpu().flatten()
    if len(flat) < 2:
        raise ConfigurationError(f"{name} has {len(flat)} class(es), give at least two")
    return flat


def _pair(frequencies: Shares, target_shares: Shares) -> tuple[Tensor, Tensor]:
    first, second = _flat(frequencies, "frequencies"), _flat(target_shares, "target_shares")
    if len(first) != len(second):
        raise ConfigurationError(f"{len(first)} frequencies and {len(second)} target_shares: give as many of both")
    return first, second


def check_distribution(shares: Shares, name: str) -> np.ndarray:
    """Shares as float64 [K], flattened.

    Raises:
        ConfigurationError: They are fewer than two, negative, or do not sum to 1.
    """
    flat = _flat(shares, name).numpy()
    if not (flat >= 0).all() or abs(flat.sum() - 1) > 1e-6:
        raise ConfigurationError(f"{name} are {flat.tolist()}, give shares from 0 to 1 that sum to 1")
    return flat / flat.sum()


def _distribution(target_shares: Shares, n: int) -> np.ndarray:
    shares = check_distribution(target_shares, "target_shares")
    if n < 1:
        raise ConfigurationError(f"n is {n}, which has no noise floor: give at least 1 image")
    return shares
