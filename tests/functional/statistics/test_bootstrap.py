from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm, t, ttest_1samp
from torch import Tensor

from fairlit.errors import ConfigurationError
from fairlit.functional.statistics.bootstrap import (
    cluster_bootstrap,
    cluster_bootstrap_difference,
    cluster_bootstrap_mean,
)
from fairlit.functional.statistics.counts import class_counts, pair_counts
from fairlit.functional.statistics.fairness import pairwise_biases, total_variations


def bias(frequencies: Tensor) -> Tensor:
    return pairwise_biases(frequencies).mean(dim=1)


def share(frequencies: Tensor) -> Tensor:
    return frequencies[:, :, 0].mean(dim=1)


def spread_out(prompts: int, images: int, generator: np.random.Generator, classes: int = 2) -> Tensor:
    return torch.from_numpy(generator.multinomial(images, generator.dirichlet(np.ones(classes), prompts)))


def test_over_prompts_it_is_students_interval_of_the_prompts_figures() -> None:
    """For a mean over prompts the bootstrap's limit is known: scipy's t interval."""
    counts = spread_out(12, 40, np.random.default_rng(0), classes=3)
    for statistic, figures in ((bias, pairwise_biases(counts / 40)), (share, (counts / 40)[:, 0])):
        expected = ttest_1samp(figures.double().numpy(), 0).confidence_interval(0.9)
        low, high = cluster_bootstrap(counts, statistic, draws=20_000, level=0.9)
        assert (low + high) / 2 == pytest.approx((expected.low + expected.high) / 2)
        assert high - low == pytest.approx(expected.high - expected.low, rel=0.03)


def test_a_statistic_that_is_no_mean_over_prompts() -> None:
    """The distance of the mean frequencies to balance, far from it: a linear function of them."""
    counts = torch.from_numpy(np.random.default_rng(1).multinomial(50, [0.8, 0.2], size=30))
    target = torch.tensor([0.5, 0.5], dtype=torch.float64)
    pooled = cluster_bootstrap(counts, lambda f: total_variations(f.mean(dim=1), target))
    linear = cluster_bootstrap(counts, lambda f: share(f) - 0.5)
    assert pooled == pytest.approx(linear)


def test_over_images_only_their_noise_is_in_it() -> None:
    """Fixed prompts of shares 0.1 to 0.9: their difference does not matter, p (1 - p) / n of each does."""
    p = np.linspace(0.1, 0.9, 20)
    ones = np.round(p * 100)
    counts = torch.from_numpy(np.stack([ones, 100 - ones], axis=1))
    low, high = cluster_bootstrap(counts, share, draws=20_000, resample="images")
    deviation = math.sqrt((p * (1 - p) / 100).mean() / 20)
    assert high - low == pytest.approx(2 * norm.ppf(0.975) * deviation, rel=0.03)
    wide_low, wide_high = cluster_bootstrap(counts, share)
    assert wide_high - wide_low > 5 * (high - low)


def test_one_prompt_is_resampled_by_its_images() -> None:
    counts = torch.tensor([[30, 70]])
    low, high = cluster_bootstrap(counts, share, draws=20_000)
    assert (low, high) == cluster_bootstrap(counts, share, draws=20_000, resample="images")
    assert high - low == pytest.approx(2 * norm.ppf(0.975) * math.sqrt(0.21 / 100), rel=0.03)
    low, high = cluster_bootstrap(torch.tensor([[0, 20]]), share, resample="images")
    assert low < 0 < high  # not seen in 20 images is not impossible


def test_prompts_differ_in_size_and_empty_ones_drop_out() -> None:
    counts = torch.tensor([[10, 0], [0, 3], [1, 1], [0, 0]])
    assert cluster_bootstrap(counts, share) == cluster_bootstrap(counts[:3], share)
    first, second = counts, torch.tensor([[1, 1], [2, 0], [0, 0], [4, 4]])
    shown = cluster_bootstrap_difference(first, second, share)
    assert shown == cluster_bootstrap_difference(first[:2], second[:2], share)


def test_seed_decides_and_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = spread_out(6, 20, np.random.default_rng(3))
    for resample in ("prompts", "images"):
        first = cluster_bootstrap(counts, bias, seed=1, resample=resample)
        assert first == cluster_bootstrap(counts, bias, seed=1, resample=resample)
        assert first != cluster_bootstrap(counts, bias, seed=2, resample=resample)
    whole = cluster_bootstrap(counts, bias)
    monkeypatch.setattr("fairlit.functional.statistics.bootstrap._CHUNK", 100)
    assert cluster_bootstrap(counts, bias) == pytest.approx(whole)


def test_pairing_prompts_takes_out_what_they_share() -> None:
    """The second method lowers every prompt's share by 0.1; prompts themselves differ by much more."""
    p = np.random.default_rng(0).uniform(0.2, 0.9, size=40)
    first, second = (torch.from_numpy(np.round(np.stack([q, 1 - q], axis=1) * 1000)) for q in (p, p - 0.1))
    low, high = cluster_bootstrap_difference(first, second, share)
    assert low == pytest.approx(0.1, abs=0.002)
    assert high == pytest.approx(0.1, abs=0.002)
    alone = cluster_bootstrap(first, share)
    assert alone[1] - alone[0] > 0.1


def test_difference_over_prompts_is_students_paired_interval() -> None:
    generator = np.random.default_rng(2)
    first, second = spread_out(15, 30, generator, 3), spread_out(15, 30, generator, 3)
    d = (pairwise_biases(first / 30) - pairwise_biases(second / 30)).double().numpy()
    expected = ttest_1samp(d, 0).confidence_interval(0.95)
    low, high = cluster_bootstrap_difference(first, second, bias, draws=20_000)
    assert (low + high) / 2 == pytest.approx(d.mean())
    assert high - low == pytest.approx(expected.high - expected.low, rel=0.03)


def test_pairs_of_images_are_drawn_together() -> None:
    """Same noise, nearly the same faces: 95 of 100 pairs agree, so the difference hardly varies with the seeds."""
    first = torch.tensor([0] * 50 + [1] * 50)
    second = torch.tensor([0] * 50 + [1] * 45 + [0] * 5)
    prompts = torch.zeros(100, dtype=torch.int64)
    counts = [class_counts(prompts, labels, prompts=1, classes=2) for labels in (first, second)]
    pairs = pair_counts(prompts, first, second, prompts=1, classes=2)
    low, high = cluster_bootstrap_difference(*counts, share, pairs=pairs, draws=20_000)
    # McNemar's variance of a difference of paired shares, with one pair more spread over the four cells
    off = 5.25 / 101
    expected = 2 * norm.ppf(0.975) * math.sqrt((off + 0.25 / 101 - (5 / 101) ** 2) / 100)
    assert high - low == pytest.approx(expected, rel=0.03)
    apart = cluster_bootstrap_difference(*counts, share, draws=20_000)
    assert apart[1] - apart[0] == pytest.approx(2 * norm.ppf(0.975) * math.sqrt((0.25 + 0.55 * 0.45) / 100), rel=0.03)
    assert apart[1] - apart[0] > 2 * (high - low)


def test_faces_that_one_method_lacks_are_drawn_on_their_own() -> None:
    """Every second image of the second method shows no face."""
    first = torch.tensor([0, 1] * 40)
    second = torch.tensor([0, -1] * 40)
    prompts = torch.arange(2).repeat_interleave(40)
    counts = [class_counts(prompts, labels, prompts=2, classes=2) for labels in (first, second)]
    pairs = pair_counts(prompts, first, second, prompts=2, classes=2)
    low, high = cluster_bootstrap_difference(*counts, share, pairs=pairs, resample="images")
    assert low < 0.5 - 1.0 < high


def test_mean_of_values_is_students_interval_of_the_prompts_means() -> None:
    generator = np.random.default_rng(2)
    groups = [torch.from_numpy(centre + 2 * generator.normal(size=30)) for centre in generator.normal(size=25)]
    means = np.array([float(group.mean()) for group in groups])
    low, high = cluster_bootstrap_mean(groups, draws=20_000, level=0.9)
    expected = 2 * t.ppf(0.95, 24) * means.std(ddof=1) / 5
    assert high - low == pytest.approx(expected, rel=0.03)
    low, high = cluster_bootstrap_mean(groups, draws=5000, level=0.9, resample="images")
    within = math.sqrt(np.mean([float(group.var()) / 30 for group in groups]) / 25)
    assert high - low == pytest.approx(2 * norm.ppf(0.95) * within, rel=0.05)
    assert (low + high) / 2 == pytest.approx(means.mean())


def test_prompts_that_agree_by_chance_have_the_interval_of_their_images() -> None:
    """Equal shares of 20 images each say nothing about how prompts differ, but the images' noise is known."""
    for prompts in (2, 3, 4):
        counts = torch.tensor([[10, 10]] * prompts)
        bounds = cluster_bootstrap(counts, share)
        assert bounds == cluster_bootstrap(counts, share, resample="images")
        expected = 2 * norm.ppf(0.975) * math.sqrt(0.25 / 20 / prompts)
        assert bounds[1] - bounds[0] == pytest.approx(expected, rel=0.06)
    same = cluster_bootstrap_difference(counts, counts.flip(0), share)
    assert same[0] < 0 < same[1]
    assert cluster_bootstrap(torch.tensor([[10, 10]] * 5), share) == (0.5, 0.5)  # five seldom agree by chance


def test_cosines_of_two_prompts_stay_cosines() -> None:
    """Student's quantile of one degree of freedom is 12.7: bounds leave the range of cosines, and are cut there."""
    far = [torch.tensor([0.2, 0.3]), torch.tensor([0.4, 0.5])]
    assert cluster_bootstrap_mean(far)[1] > 1
    low, high = cluster_bootstrap_mean(far, reach=1.0)
    assert (low, high) == (cluster_bootstrap_mean(far)[0], 1.0)
    equal = [torch.tensor([0.2, 0.4]), torch.tensor([0.25, 0.35])]
    assert cluster_bootstrap_mean(equal) == cluster_bootstrap_mean(equal, resample="images")
    low, high = cluster_bootstrap_mean(equal)
    deviation = math.sqrt((0.02 / 2 + 0.005 / 2) / 4)  # of the mean of two means of two images each
    assert high - low == pytest.approx(2 * norm.ppf(0.975) * deviation, rel=0.1)


def test_one_value_says_nothing_of_its_error() -> None:
    assert all(math.isnan(bound) for bound in cluster_bootstrap_mean([torch.tensor([0.3])], reach=1.0))


def test_values_of_ragged_groups_are_only_their_own() -> None:
    groups = [torch.ones(1), torch.ones(7), torch.zeros(0)]
    assert cluster_bootstrap_mean(groups, draws=50) == (1.0, 1.0)
    assert cluster_bootstrap_mean(groups, draws=50, resample="images") == (1.0, 1.0)


def test_nothing_to_resample_is_not_a_number() -> None:
    assert all(math.isnan(bound) for bound in cluster_bootstrap(torch.zeros(3, 2), bias))
    assert all(math.isnan(bound) for bound in cluster_bootstrap_mean([torch.zeros(0)]))
    assert all(math.isnan(bound) for bound in cluster_bootstrap_difference(torch.zeros(3, 2), torch.ones(3, 2), bias))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"draws": 1}, "draws is 1"),
        ({"level": 0.0}, "level is 0.0"),
        ({"level": 1.0}, "level is 1.0"),
        ({"resample": "both"}, "use one of prompts, images"),
        ({"draws": 0, "level": 2.0}, "2 problems"),
    ],
)
def test_bad_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        cluster_bootstrap(torch.ones(2, 2), bias, **settings)
    with pytest.raises(ConfigurationError, match=message):
        cluster_bootstrap_difference(torch.ones(2, 2), torch.ones(2, 2), bias, **settings)
    with pytest.raises(ConfigurationError, match=message):
        cluster_bootstrap_mean([torch.ones(2)], **settings)


def test_tables_that_do_not_fit_are_refused() -> None:
    ones = torch.ones(2, 2)
    with pytest.raises(ConfigurationError, match=r"\(2, 2\) and \(3, 2\)"):
        cluster_bootstrap_difference(ones, torch.ones(3, 2), bias)
    with pytest.raises(ConfigurationError, match=r"give \(2, 2, 2\)"):
        cluster_bootstrap_difference(ones, ones, bias, pairs=torch.ones(2, 4))
    with pytest.raises(ConfigurationError, match="more images of some class"):
        cluster_bootstrap_difference(ones, ones, bias, pairs=torch.ones(2, 2, 2))
