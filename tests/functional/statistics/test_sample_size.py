from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import binom, binomtest, norm, t

from fairlit.errors import ConfigurationError
from fairlit.functional.statistics.bootstrap import cluster_bootstrap
from fairlit.functional.statistics.fairness import pairwise_biases
from fairlit.functional.statistics.sample_size import (
    bias_width,
    frequency_width,
    images_for_bias,
    images_for_frequency,
    prompts_for_bias,
)


@pytest.mark.parametrize(("n", "share"), [(1, 0.5), (12, 0.3), (40, 0.05), (40, 0.0)])
def test_frequency_width_is_the_mean_over_all_counts(n: int, share: float) -> None:
    widths = [np.diff(binomtest(k, n).proportion_ci(0.95, method="exact"))[0] for k in range(n + 1)]
    expected = (binom.pmf(np.arange(n + 1), n, share) * widths).sum()
    assert frequency_width(n, share=share) == pytest.approx(expected, abs=1e-9)


def test_many_images_have_the_width_of_the_normal_limit() -> None:
    assert frequency_width(100_000, share=0.2) == pytest.approx(2 * norm.ppf(0.975) * 0.4 / 100_000**0.5, rel=0.01)


@pytest.mark.parametrize(("width", "share", "level"), [(0.2, 0.5, 0.95), (0.1, 0.1, 0.95), (0.3, 0.5, 0.8)])
def test_images_for_frequency_is_the_least_number(width: float, share: float, level: float) -> None:
    n = images_for_frequency(width, share=share, level=level)
    assert frequency_width(n, share=share, level=level) <= width
    assert frequency_width(n - 1, share=share, level=level) > width


def test_bias_width_by_hand() -> None:
    # two images of a balanced prompt: bias 0 or 1 with even chances, standard deviation 1 / 2
    assert bias_width(10, 2, [0.5, 0.5]) == pytest.approx(2 * t.ppf(0.975, 9) * 0.5 / math.sqrt(10))
    # many images far from balance: the bias is a linear function of the share
    slope = math.sqrt(4 * 0.9 * 0.1 / 400)
    assert bias_width(10, 400, [0.9, 0.1]) == pytest.approx(2 * t.ppf(0.975, 9) * slope / math.sqrt(10), rel=1e-3)
    both = math.hypot(slope, 0.3)
    assert bias_width(10, 400, [0.9, 0.1], between=0.3) == pytest.approx(
        2 * t.ppf(0.975, 9) * both / math.sqrt(10), rel=1e-3
    )


def test_drawn_variance_agrees_with_the_enumerated_one() -> None:
    many = bias_width(50, 120, [0.25] * 4)  # 302 621 outcomes: drawn
    fewer = bias_width(50, 100, [0.25] * 4)  # 176 851: enumerated
    assert many / fewer == pytest.approx(math.sqrt(100 / 120), rel=0.02)


def test_bias_width_is_what_the_bootstrap_gives() -> None:
    generator, shares = np.random.default_rng(0), [0.3, 0.3, 0.2, 0.2]
    widths = []
    for _ in range(40):
        counts = torch.from_numpy(generator.multinomial(24, shares, size=30))
        low, high = cluster_bootstrap(counts, lambda f: pairwise_biases(f).mean(dim=1), draws=400)
        widths.append(high - low)
    assert bias_width(30, 24, shares) == pytest.approx(np.mean(widths), rel=0.06)


@pytest.mark.parametrize(("width", "prompts", "between"), [(0.05, 50, 0.0), (0.1, 20, 0.1), (0.2, 50, 0.3)])
def test_images_for_bias_and_its_inverse(width: float, prompts: int, between: float) -> None:
    n = images_for_bias(width, prompts, [0.5, 0.5], between=between)
    assert all(bias_width(prompts, more, [0.5, 0.5], between=between) <= width for more in range(n, n + 8))
    assert n == 1 or max(bias_width(prompts, n - i, [0.5, 0.5], between=between) for i in (0, 1)) > width
    needed = prompts_for_bias(width, n, [0.5, 0.5], between=between)
    assert needed <= prompts
    assert bias_width(needed, n, [0.5, 0.5], between=between) <= width
    assert bias_width(needed - 1, n, [0.5, 0.5], between=between) > width


def test_a_width_that_images_cannot_buy_names_the_prompts_that_can() -> None:
    with pytest.raises(ConfigurationError, match=r"out of reach .* use (\d+) prompts") as caught:
        images_for_bias(0.1, 10, [0.5, 0.5], between=0.3)
    needed = int(str(caught.value).split("use ")[1].split()[0])
    assert images_for_bias(0.1, needed + 1, [0.5, 0.5], between=0.3) > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: frequency_width(0, share=2.0), "2 problems"),
        (lambda: images_for_frequency(0.0), "width is 0.0"),
        (lambda: images_for_frequency(1e-4), "more than 1000000 images"),
        (lambda: bias_width(1, 5, [0.5, 0.5]), "prompts is 1, use at least 2"),
        (lambda: prompts_for_bias(0.1, 5, [0.5, 0.4]), "sum to 1"),
    ],
)
def test_bad_input_is_refused(call, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        call()
