"""How many images an interval of a wished width takes, and how wide the interval of given images will be.

All widths are from lower to upper bound, and are those expected before the images are made.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy import special

from fairlit.errors import ConfigurationError, Problems
from fairlit.functional.statistics.fairness import Shares, check_distribution, pairwise_biases
from fairlit.functional.statistics.intervals import clopper_pearson
from fairlit.functional.statistics.multinomial import EXACT_OUTCOMES
from fairlit.functional.statistics.outcomes import log_probability, outcomes

MOST_IMAGES = 1_000_000
"""Where the search for a number of images ends."""


def frequency_width(images: int, *, share: float = 0.5, level: float = 0.95) -> float:
    """Expected width of the exact interval (`clopper_pearson`) of one frequency.

    Args:
        images: Number of independent images, 1 or more.
        share: True share of the class; 0.5 is the worst case.
        level: Coverage, between 0 and 1.

    Returns:
        Width in (0, 1].

    Raises:
        ConfigurationError: A number is out of range.

    Example:
        >>> round(frequency_width(100), 3)
        0.202
    """
    _check(images=images, share=share, level=level)
    spread = 10 * math.sqrt(images * share * (1 - share)) + 10  # what lies outside has probability below 1e-15
    centre = images * share
    counts = np.arange(max(0, math.floor(centre - spread)), min(images, math.ceil(centre + spread)) + 1)
    bounds = clopper_pearson(torch.from_numpy(counts), images, level=level).numpy()
    outcomes_of_two = np.stack([counts, images - counts], axis=1)
    weights = np.exp(log_probability(outcomes_of_two, np.array([share, 1 - share])))
    return float((weights * (bounds[:, 1] - bounds[:, 0])).sum())


def images_for_frequency(width: float, *, share: float = 0.5, level: float = 0.95) -> int:
    """Fewest images whose exact interval of one frequency is expected to be no wider than `width`.

    Args:
        width: Wished width, in (0, 1).
        share: True share of the class; 0.5 is the worst case.
        level: Coverage, between 0 and 1.

    Returns:
        Number of images.

    Raises:
        ConfigurationError: A number is out of range, or more than a million images were needed.

    Example:
        >>> images_for_frequency(0.2)
        103
    """
    _check(width=width, share=share, level=level)
    return _fewest(lambda images: frequency_width(images, share=share, level=level), width, "images")


def bias_width(
    prompts: int, images: int, shares: Shares, *, between: float = 0.0, level: float = 0.95, seed: int = 0
) -> float:
    """Width to be expected of the interval of the mean bias over prompts (`cluster_bootstrap`).

    The variance of a prompt's bias is `between` squared plus that of counting n images; the first does not shrink with
    more images, so beyond some point only more prompts help.

    Args:
        prompts: Number of prompts, 2 or more.
        images: Number of images of each prompt, 1 or more.
        shares: [K], or a joint table: the shares of a typical prompt. The target, to plan for a model that meets it.
        between: Standard deviation over prompts of the bias that infinitely many images would show, in [0, 1]. About
            0.3 for a model that is biased by occupation, near 0 for one that meets its target.
        level: Coverage, between 0 and 1.
        seed: Of the outcomes drawn where there are too many to enumerate.

    Returns:
        Width, more than 0.

    Raises:
        ConfigurationError: A number is out of range, or the shares are no distribution.

    Example:
        >>> round(bias_width(50, 60, [0.5, 0.5]), 3)
        0.045
    """
    _check(prompts=prompts, images=images, between=between, level=level)
    counting = _bias_variance(images, check_distribution(shares, "shares"), seed)
    return _student_width(prompts, between**2 + counting, level)


def images_for_bias(
    width: float, prompts: int, shares: Shares, *, between: float = 0.0, level: float = 0.95, seed: int = 0
) -> int:
    """Fewest images of each prompt from which on the interval of the mean bias is expected to be within `width`.

    Args:
        width: Wished width, in (0, 1).
        prompts: Number of prompts, 2 or more.
        shares: As for `bias_width`.
        between: As for `bias_width`.
        level: Coverage, between 0 and 1.
        seed: Of the outcomes drawn where there are too many to enumerate.

    Returns:
        Number of images of one prompt.

    Raises:
        ConfigurationError: A number is out of range, the shares are no distribution, or no number of images is enough,
            because so few prompts differ too much.

    Example:
        >>> images_for_bias(0.05, 50, [0.5, 0.5])
        47
    """
    _check(width=width, prompts=prompts, between=between, level=level)
    if _student_width(prompts, between**2, level) >= width:
        raise ConfigurationError(
            f"width={width} is out of reach with prompts={prompts} whose bias differs by between={between}, however "
            f"many images: use {_fewest_prompts(width, between**2, level)} prompts or more"
        )
    checked = check_distribution(shares, "shares")

    def expected(images: int) -> float:
        # Even numbers of images give wider intervals than odd ones, and one image the same bias always.
        counting = max(_bias_variance(n, checked, seed) for n in (images, images + 1))
        return _student_width(prompts, between**2 + counting, level)

    return _fewest(expected, width, "images of each prompt")


def prompts_for_bias(
    width: float, images: int, shares: Shares, *, between: float = 0.0, level: float = 0.95, seed: int = 0
) -> int:
    """Fewest prompts of `images` images each for which the interval of the mean bias is no wider than `width`.

    Arguments, result and errors are as for `images_for_bias`.

    Example:
        >>> prompts_for_bias(0.05, 60, [0.5, 0.5], between=0.3)
        594
    """
    _check(width=width, images=images, between=between, level=level)
    variance = between**2 + _bias_variance(images, check_distribution(shares, "shares"), seed)
    return _fewest_prompts(width, variance, level)


def _bias_variance(images: int, shares: np.ndarray, seed: int) -> float:
    """Variance of the pairwise bias of n images, exact up to `EXACT_OUTCOMES` outcomes, else from 20 000 draws."""
    if math.comb(images + len(shares) - 1, len(shares) - 1) <= EXACT_OUTCOMES:
        counts = outcomes(images, len(shares))
        weights = np.exp(log_probability(counts, shares))
    else:
        counts = np.random.default_rng(seed).multinomial(images, shares, size=20_000)
        weights = np.full(len(counts), 1 / len(counts))
    biases = pairwise_biases(torch.from_numpy(counts / images)).numpy()
    return float((weights * biases**2).sum() - (weights * biases).sum() ** 2)


def _student_width(prompts: int, variance: float, level: float) -> float:
    return 2 * float(special.stdtrit(prompts - 1, (1 + level) / 2)) * math.sqrt(max(0.0, variance) / prompts)


def _fewest_prompts(width: float, variance: float, level: float) -> int:
    return _fewest(lambda prompts: _student_width(prompts + 1, variance, level), width, "prompts") + 1


def _fewest(expected: Callable[[int], float], width: float, what: str) -> int:
    """The least number from 1 up whose expected width is at most `width`, by doubling and halving."""
    high = 1
    while expected(high) > width:
        high *= 2
        if high > MOST_IMAGES:
            raise ConfigurationError(f"width={width} takes more than {MOST_IMAGES} {what}: ask for a larger width")
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if expected(middle) <= width else (middle, high)
    return high


def _check(**values: float) -> None:
    """Notes every value that is out of range."""
    least = {"prompts": 2, "images": 1}
    with Problems("sample size") as problems:
        for name, value in values.items():
            if name in least:
                if value < least[name]:
                    problems.add(f"{name} is {value}, use at least {least[name]}")
            elif name in ("width", "level"):
                if not 0 < value < 1:
                    problems.add(f"{name} is {value}, give a number between 0 and 1")
            elif not 0 <= value <= 1:
                problems.add(f"{name} is {value}, give a number from 0 to 1")
