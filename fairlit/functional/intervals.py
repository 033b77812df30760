"""Confidence intervals for figures that are averaged over prompts, by a two-level bootstrap.

Images of one prompt resemble each other more than images of two prompts, so prompts are resampled first and
images within each of them second (A. C. Davison and D. V. Hinkley, Bootstrap Methods and their Application,
1997, section 3.8).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from fairlit.errors import ConfigurationError

Interval = tuple[float, float]


def hierarchical_bootstrap(
    groups: Tensor,
    statistic: Callable[[Tensor], Tensor],
    *,
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    recentre: bool = True,
) -> Interval:
    """Interval of a statistic of per-prompt class frequencies.

    Absolute values make the plain percentile interval wrong here: resampled frequencies carry the noise of
    the images twice, so a mean of |f_i - f_j| comes out too large in every draw, most of all near balance.
    `recentre` shifts the draws so that their mean is the observed value, which keeps their spread and removes
    that excess. What remains is the excess that the observed value has itself; read it against the noise floor.

    Args:
        groups: Number of images per class, [P prompts, K classes], whole numbers. Prompts without any image
            are left out.
        statistic: Frequencies [B, P, K] in float64 -> values [B].
        draws: Number B of bootstrap draws.
        level: Coverage, between 0 and 1.
        seed: Of the draws.
        recentre: Whether to remove the bias of the draws; False gives the percentile interval.

    Returns:
        Lower and upper bound; both NaN if there is no image at all.

    Raises:
        ConfigurationError: draws or level are out of range.

    Example:
        >>> counts = torch.tensor([[30, 18], [25, 23], [20, 28]])
        >>> low, high = hierarchical_bootstrap(counts, lambda f: f[:, :, 0].mean(dim=1))
        >>> low < 75 / 144 < high
        True
    """
    _check(draws, level)
    counts = groups.detach().cpu().double().numpy()
    counts = counts[counts.sum(axis=1) > 0]
    if not len(counts):
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    sizes = counts.sum(axis=1)
    frequencies = counts / sizes[:, None]
    prompts = generator.integers(len(counts), size=(draws, len(counts)))
    drawn = generator.multinomial(sizes[prompts].astype(np.int64), frequencies[prompts])
    values = statistic(torch.from_numpy(drawn / sizes[prompts][:, :, None])).double().numpy()
    observed = float(statistic(torch.from_numpy(frequencies)[None])[0])
    return _interval(values, observed if recentre else None, level)


def hierarchical_bootstrap_mean(
    groups: Sequence[Tensor], *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Interval of the mean over prompts of the mean over images of some value.

    Args:
        groups: Per prompt the values of its images, [n_p]; prompts without values are left out.
        draws: Number of bootstrap draws.
        level: Coverage, between 0 and 1.
        seed: Of the draws.

    Returns:
        Lower and upper bound of the percentile interval; both NaN if there is no value at all.

    Raises:
        ConfigurationError: draws or level are out of range.

    Example:
        >>> low, high = hierarchical_bootstrap_mean([torch.tensor([0.1, 0.3]), torch.tensor([0.2, 0.6, 0.4])])
        >>> low < 0.3 < high
        True
    """
    _check(draws, level)
    rows = [group.detach().cpu().double().numpy() for group in groups if len(group)]
    if not rows:
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    sizes = np.array([len(row) for row in rows])
    padded = np.zeros((len(rows), sizes.max()))
    for place, row in zip(padded, rows, strict=True):
        place[: len(row)] = row
    values = np.empty(draws)
    for draw in range(draws):  # one draw at a time: all at once would need draws * images numbers
        prompts = generator.integers(len(rows), size=len(rows))
        n = sizes[prompts][:, None]
        images = (generator.random((len(rows), sizes.max())) * n).astype(np.int64)
        used = np.arange(sizes.max()) < n
        values[draw] = ((padded[prompts[:, None], images] * used).sum(axis=1) / n[:, 0]).mean()
    return _interval(values, None, level)


def _interval(values: np.ndarray, observed: float | None, level: float) -> Interval:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    shift = 0.0 if observed is None else observed - values.mean()
    return float(low + shift), float(high + shift)


def _check(draws: int, level: float) -> None:
    if draws < 1 or not 0 < level < 1:
        raise ConfigurationError(f"draws={draws}, level={level}: use at least 1 draw and a level between 0 and 1")
