"""How far, at most, the distribution behind some images is from its target: "within d of the target at 95 %".

A test that does not reject the target says little about few images. The statement that users want is the opposite
one, and it has to be earned: that the total variation distance to the target is below d.

**What is guaranteed.** Total variation is the largest p(A) - t(A) over sets A of classes. For the one set A* at which
the distance is attained, the exact one-sided bound of its share (Clopper and Pearson) fails with probability of at
most 1 - level; the bound given here is the largest over all sets, so it is no smaller. Hence, whatever the
distribution, the number of images (independent, of one prompt) and the number of classes, the bound is below the true
distance with probability of at most 1 - level. No correction for the number of sets is needed: to reject "too far"
means to reject it for every set (an intersection-union test, R. L. Berger, Technometrics 24, 1982). For two classes it
is the pair of one-sided tests usual for equivalence (D. J. Schuirmann, 1987). It is conservative, the more so the
more classes there are.

**What is not.** It is about perceived classes: a classifier's errors add to the distance, or hide part of it
(`fairlit.functional.statistics.classifier_error`). And the bounds of many prompts hold each on its own. For "all
prompts are within d" the largest of their bounds holds at the same level, again as an intersection-union test; for
"these prompts are within d", adjust `equivalence_test` by `holm`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy import special
from torch import Tensor

from fairlit.errors import ConfigurationError
from fairlit.functional.statistics.fairness import Shares, check_distribution


def total_variation_bound(counts: Tensor, target_shares: Shares, *, level: float = 0.95) -> Tensor:
    """Upper confidence bound of the total variation distance between the shares behind counts and a target.

    Args:
        counts: Images per class, [..., K], whole numbers, one row a prompt.
        target_shares: [K], or a joint table of K classes; sums to 1.
        level: Probability with which the bound holds, at least, between 0 and 1.

    Returns:
        float64 [...] in [0, 1]; NaN without an image.

    Raises:
        ConfigurationError: Counts and shares do not fit, the shares are no distribution, or level is out of range.

    Example:
        >>> total_variation_bound(torch.tensor([[24, 24], [480, 480]]), [0.5, 0.5]).round(decimals=2)
        tensor([0.1300, 0.0300], dtype=torch.float64)
    """
    if not 0 < level < 1:
        raise ConfigurationError(f"level is {level}, give one between 0 and 1, such as 0.95")

    def bound(shares: np.ndarray, n: int) -> float:
        m = np.arange(n + 1)
        upper = np.append(special.betaincinv(m[:-1] + 1, n - m[:-1], level), 1.0)
        return float(np.max(upper - shares))

    return _each_row(counts, target_shares, bound)


def equivalence_test(counts: Tensor, target_shares: Shares, margin: float) -> Tensor:
    """P-value of "the total variation distance to the target is `margin` or more".

    Below alpha, the images show that they are within `margin` of the target; `total_variation_bound` at level
    1 - alpha is then below `margin`, and the other way round.

    Args:
        counts: Images per class, [..., K], whole numbers, one row a prompt.
        target_shares: [K], or a joint table of K classes; sums to 1.
        margin: The distance d to be excluded, in (0, 1).

    Returns:
        float64 [...] in [0, 1]; NaN without an image.

    Raises:
        ConfigurationError: Counts and shares do not fit, the shares are no distribution, or margin is out of range.

    Example:
        >>> equivalence_test(torch.tensor([[24, 24], [480, 480]]), [0.5, 0.5], 0.1).round(decimals=4)
        tensor([0.1034, 0.0000], dtype=torch.float64)
    """
    if not 0 < margin < 1:
        raise ConfigurationError(f"margin is {margin}, give a distance between 0 and 1, such as 0.1")

    def p_value(shares: np.ndarray, n: int) -> float:
        claimed = shares + margin
        tails = special.bdtr(np.arange(n + 1), n, claimed.clip(0, 1))
        return float(np.max(np.where(claimed <= 1, tails, 0.0)))

    return _each_row(counts, target_shares, p_value)


def _each_row(counts: Tensor, target_shares: Shares, figure: Callable[[np.ndarray, int], float]) -> Tensor:
    shares = check_distribution(target_shares, "target_shares")
    counts = torch.as_tensor(counts).detach().cpu()
    if counts.shape[-1] != len(shares):
        sizes = f"{counts.shape[-1]} classes and target_shares {len(shares)}"
        raise ConfigurationError(f"counts have {sizes}: give as many")
    rows = counts.reshape(-1, len(shares)).long().numpy()
    figures = [figure(_least_shares(row, shares), int(row.sum())) if row.sum() else float("nan") for row in rows]
    return torch.tensor(figures, dtype=torch.float64).view(counts.shape[:-1])


def _least_shares(counts: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The least target share of a set of classes that together were counted m times, for m = 0 to n: [n + 1].

    Infinite where no set was. Among sets of equal count the one of least share decides, so n + 1 numbers stand
    for all 2 ** K sets. The empty set is left out: nothing is to be learnt about it.
    """
    n = int(counts.sum())
    with_empty = np.full(n + 1, np.inf)
    with_empty[0] = 0.0
    least = np.full(n + 1, np.inf)
    for count, share in zip(counts, shares, strict=True):
        joined = np.full(n + 1, np.inf)
        joined[count:] = with_empty[: n + 1 - count] + share
        least, with_empty = np.minimum(least, joined), np.minimum(with_empty, joined)
    return least
