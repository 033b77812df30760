"""The multinomial test of "the images of this prompt were drawn from the target distribution"."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from fairlit.errors import ConfigurationError
from fairlit.functional.statistics.fairness import Shares, check_distribution
from fairlit.functional.statistics.outcomes import log_probability, outcomes

EXACT_OUTCOMES = 200_000
"""Most outcomes that are enumerated; beyond, they are drawn. 60 images in four classes have 39 711."""

_NUMBERS_AT_ONCE = 4_000_000  # of drawn outcomes: bounds memory, whatever the number of classes
_SAME = 1e-9  # log-probabilities closer than that are those of equally probable outcomes


def multinomial_test(
    counts: Tensor, target_shares: Shares, *, draws: int = 100_000, seed: int = 0, exact_outcomes: int = EXACT_OUTCOMES
) -> Tensor:
    """Probability, under the target, of an outcome that is no more probable than the one counted.

    The exact multinomial test: n images in K classes have (n + K - 1)! / (n! (K - 1)!) outcomes. Up to
    `exact_outcomes` of them are enumerated; beyond, `draws` outcomes are drawn, and the p-value is (1 + those no
    more probable) / (1 + draws), which keeps the level too. For two classes it is the usual binomial test.

    A large p-value does not say that the target is met, only that n images do not show the contrary: see
    `fairlit.functional.statistics.equivalence` for that statement. Over several prompts, adjust with `holm`.

    Args:
        counts: Images per class, [..., K], whole numbers, one row a prompt.
        target_shares: [K], or a joint table of K classes; sums to 1.
        draws: Outcomes drawn for each number of images that is too large to enumerate. With Holm's correction over M
            prompts it must be well above M / 0.05, or no prompt can be rejected.
        seed: Of the draws.
        exact_outcomes: Where to switch from enumerating to drawing.

    Returns:
        float64 [...]: p-values in [0, 1]; 0 where a class occurs that the target rules out; NaN without an image.

    Raises:
        ConfigurationError: Counts and shares do not fit, or the shares are no distribution.

    Example:
        >>> multinomial_test(torch.tensor([[5, 0], [3, 2]]), [0.5, 0.5])  # 2 / 32, and anything at all
        tensor([0.0625, 1.0000], dtype=torch.float64)
    """
    shares = check_distribution(target_shares, "target_shares")
    counts = torch.as_tensor(counts).detach().cpu()
    if counts.shape[-1] != len(shares):
        raise ConfigurationError(
            f"counts have {counts.shape[-1]} classes and target_shares {len(shares)}: give as many"
        )
    if draws < 1:
        raise ConfigurationError(f"draws is {draws}, use at least 1, better {100_000}")
    rows = counts.reshape(-1, len(shares)).long().numpy()
    p_values = np.full(len(rows), np.nan)
    sizes = rows.sum(axis=1)
    for n in np.unique(sizes[sizes > 0]):
        here = sizes == n
        observed = log_probability(rows[here], shares)
        p_values[here] = _tail(observed, int(n), shares, draws=draws, seed=seed, exact_outcomes=exact_outcomes)
    return torch.from_numpy(p_values).view(counts.shape[:-1])


def _tail(
    observed: np.ndarray, n: int, shares: np.ndarray, *, draws: int, seed: int, exact_outcomes: int
) -> np.ndarray:
    """P(log-probability <= observed) [M] for outcomes of n images."""
    if math.comb(n + len(shares) - 1, len(shares) - 1) <= exact_outcomes:
        ordered = np.sort(log_probability(outcomes(n, len(shares)), shares))
        cumulated = np.concatenate([[0.0], np.exp(ordered).cumsum()])
        return cumulated[np.searchsorted(ordered, observed + _SAME, side="right")].clip(0.0, 1.0)
    generator, part = np.random.default_rng(seed), max(1, _NUMBERS_AT_ONCE // len(shares))
    drawn = (generator.multinomial(n, shares, size=min(part, draws - start)) for start in range(0, draws, part))
    ordered = np.sort(np.concatenate([log_probability(counts, shares) for counts in drawn]))
    smaller = np.searchsorted(ordered, observed + _SAME, side="right")
    return np.where(np.isneginf(observed), 0.0, (1 + smaller) / (1 + draws))
