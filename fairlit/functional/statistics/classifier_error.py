"""Frequencies corrected for the errors of the classifier that counted them.

A classifier that takes women for men more often than men for women shows a bias that the images do not have. If
A[i, j] is the share of faces of class i that it takes for class j, shares p of the true classes are seen as q = p A,
so p = q A^-1: what epidemiology knows as the estimator of W. J. Rogan and B. Gladen (American Journal of Epidemiology
107, 1978), and CLEAM (C. T. H. Teo, M. Abdollahzadeh and N.-M. Cheung, On Measuring Fairness in Generative Models,
NeurIPS 2023, section 4) for generated images. A comes from validation faces, so it is uncertain as well.

What this rests on: that the classifier errs on generated faces as it does on the validation faces, class by class.
Nobody has checked that for your images unless you have labelled some. "True" is what the validation labels say, which
are perceived attributes too.

Several attributes: the correction is made along each axis of the joint table, which takes errors in one attribute to
be independent of errors in another, given the true classes; only matrices per attribute are saved with a classifier.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import special
from torch import Tensor

from fairlit.errors import ConfigurationError, Problems
from fairlit.functional.statistics.bootstrap import frequencies, student_factor
from fairlit.functional.statistics.intervals import Interval

Confusions = Sequence[Tensor | Sequence[Sequence[float]]]

LARGEST_CONDITION = 1e3
"""Condition number beyond which a classifier tells its classes apart too badly to be corrected for."""


def cleam(batch_frequencies: Tensor, accuracies: tuple[float, float], *, level: float = 0.95) -> tuple[float, Interval]:
    """CLEAM's point and interval estimate of the share of the first of two classes.

    The estimate is (mu - (1 - a1)) / (a0 + a1 - 1), mu being the batches' mean frequency; the interval is the same
    of mu -+ z sigma / sqrt(s), sigma being the batches' standard deviation with divisor s. The accuracies are taken as
    known: for few validation faces that makes it too narrow, see `corrected_intervals`. Results are not cut to 0 to 1.

    Args:
        batch_frequencies: Frequency of the first class in each of s batches of equally many images, [s]; the paper
            takes 30 batches of 400.
        accuracies: Share of the first class's faces that the classifier gets right, and of the second's.
        level: Coverage, between 0 and 1.

    Returns:
        The estimate, and its interval.

    Raises:
        ConfigurationError: The classifier is no better than chance, or there is no batch.

    Example:
        >>> estimate, (low, high) = cleam(torch.tensor([0.60, 0.62]), (0.95, 0.98))
        >>> round(estimate, 4), round(low, 4), round(high, 4)  # (0.61 - 0.02) / 0.93
        (0.6344, 0.6195, 0.6493)
    """
    right, wrong = accuracies[0], 1 - accuracies[1]
    if not (0 <= accuracies[0] <= 1 and 0 <= accuracies[1] <= 1 and right - wrong > 1 / LARGEST_CONDITION):
        raise ConfigurationError(f"accuracies are {accuracies}: give two shares that sum to more than 1")
    if not len(batch_frequencies):
        raise ConfigurationError("batch_frequencies is empty: give the frequency of at least one batch")
    batches = batch_frequencies.detach().cpu().double()
    half = float(special.ndtri((1 + level) / 2)) * float(batches.std(correction=0)) / math.sqrt(len(batches))
    mean = float(batches.mean())
    low, estimate, high = ((value - wrong) / (right - wrong) for value in (mean - half, mean, mean + half))
    return estimate, (low, high)


def correct_frequencies(observed: Tensor, confusions: Confusions) -> Tensor:
    """The shares of true classes that would be seen as `observed`, or the nearest ones that are shares.

    Where the inversion leaves the simplex, which noise makes likely near 0, its Euclidean projection on the simplex is
    taken; that and the inversion's larger noise move a bias or distance computed from the result upwards.

    Args:
        observed: Frequencies [..., K1, ..., KA] that sum to 1 over the last A axes.
        confusions: For each of the A attributes a matrix [Ka, Ka], counts or shares: rows true classes, columns
            predicted ones. A = 1 for one attribute on its own.

    Returns:
        float64, the shape of `observed`.

    Raises:
        ConfigurationError: A matrix does not fit, has a true class without a face, or cannot be inverted. All problems
            are reported together.

    Example:
        >>> correct_frequencies(torch.tensor([0.61, 0.39]), [[[95, 5], [2, 98]]]).round(decimals=4)
        tensor([0.6344, 0.3656], dtype=torch.float64)
    """
    rates = confusion_rates(confusions, observed.shape)
    return _shares(_inverted(observed.detach().cpu().double(), rates), len(rates))


def seen_frequencies(true: Tensor, confusions: Confusions) -> Tensor:
    """Return as which shares a classifier sees true ones: q = p A, what `correct_frequencies` inverts.

    Args:
        true: shares [..., K1, ..., KA] that sum to 1 over the last A axes.
        confusions: as for `correct_frequencies`.

    Returns:
        float64, the shape of `true`.

    Raises:
        ConfigurationError: As there.

    Example:
        >>> seen_frequencies(torch.tensor([0.5, 0.5]), [[[95, 5], [2, 98]]])
        tensor([0.4850, 0.5150], dtype=torch.float64)
    """
    rates = confusion_rates(confusions, true.shape)
    seen = true.detach().cpu().double()
    for axis, rate in enumerate(rates, start=-len(rates)):
        seen = (seen.movedim(axis, -1) @ rate).movedim(-1, axis)
    return seen


def corrected_intervals(
    counts: Tensor, confusions: Confusions, *, level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> Tensor:
    """Interval of every corrected share of the images of one prompt, or of other independent images.

    Both the frequencies and each row of the confusion matrices are drawn from their posterior with a Dirichlet prior
    of one image in all, spread evenly (Jeffreys' for two classes); the bounds are quantiles of the inverted draws, cut
    to 0 to 1. So the error of counting n images and that of the finite validation set are both in it. How often
    they cover is measured by `benchmarks/coverage_table.py`.

    Args:
        counts: Images per class as the classifier saw them, [K1, ..., KA], whole numbers.
        confusions: For each of the A attributes the *counts* [Ka, Ka] of validation faces: rows true classes, columns
            predicted ones.
        level: Coverage, between 0 and 1.
        draws: Posterior draws.
        seed: Of the draws.

    Returns:
        Lower and upper bounds, float64 [K1, ..., KA, 2]; NaN without an image.

    Raises:
        ConfigurationError: As for `correct_frequencies`, or confusions are no counts.

    Example:
        >>> corrected_intervals(torch.tensor([61, 39]), [[[950, 50], [20, 980]]])[0].round(decimals=2)
        tensor([0.5300, 0.7300], dtype=torch.float64)
        >>> corrected_intervals(torch.tensor([61, 39]), [[[19, 1], [0, 20]]])[0].round(decimals=2)  # 40 faces only
        tensor([0.5200, 0.8000], dtype=torch.float64)
    """
    _check_settings(level, draws)
    tables = _validation_counts(confusions, counts.shape)
    if not counts.sum():
        return torch.full((*counts.shape, 2), torch.nan, dtype=torch.float64)
    generator = np.random.default_rng(seed)
    flat = counts.detach().cpu().double().flatten().numpy()
    seen = torch.from_numpy(generator.dirichlet(flat + 1 / len(flat), size=draws)).view(draws, *counts.shape)
    shares = _inverted(seen, _drawn_rates(generator, tables, draws)).clamp(0.0, 1.0)
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    return shares.flatten(1).quantile(tails, dim=0).T.reshape(*counts.shape, 2)


def corrected_bootstrap(
    groups: Tensor,
    confusions: Confusions,
    statistic: Callable[[Tensor], Tensor],
    *,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, Interval]:
    """A statistic of corrected per-prompt frequencies, and its interval.

    As `cluster_bootstrap` over prompts; to its variance comes that of drawing the confusion matrices from
    their posterior, which all prompts share, so more prompts do not make it smaller. The interval covers the expected
    value at these numbers of images, and of the correction as it is: its noise floor lies above that of uncorrected
    frequencies.

    Args:
        groups: Images per class as the classifier saw them, [P, K1, ..., KA]; prompts without any are left out.
        confusions: As for `corrected_intervals`.
        statistic: Corrected frequencies [B, P, K], K the joint classes, in float64 -> values [B].
        draws: Number of bootstrap draws, and of posterior draws.
        level: Coverage, between 0 and 1.
        seed: Of the draws.

    Returns:
        The observed value, and lower and upper bound; all NaN with fewer than two prompts.

    Raises:
        ConfigurationError: As for `corrected_intervals`.

    Example:
        >>> counts = torch.tensor([[40, 8], [35, 13], [42, 6]])
        >>> share = lambda f: f[:, :, 0].mean(dim=1)
        >>> value, (low, high) = corrected_bootstrap(counts, [[[90, 10], [10, 90]]], share)
        >>> round(value, 3), low < value < high  # (117 / 144 - 0.1) / 0.8
        (0.891, True)
    """
    _check_settings(level, draws)
    tables = _validation_counts(confusions, groups.shape)
    counts = groups.detach().cpu()
    counts = counts[counts.flatten(1).sum(dim=1) > 0]
    prompts = len(counts)
    if prompts < 2:
        return float("nan"), (float("nan"), float("nan"))
    generator = np.random.default_rng(seed)
    seen = frequencies(counts.flatten(1)).view(counts.shape)
    corrected = correct_frequencies(seen, confusions).flatten(1)
    by_prompts = _over_prompts(generator, corrected, statistic, draws=draws)
    by_rates = _over_rates(generator, seen, tables, statistic, draws=draws)
    normal = float(special.ndtri((1 + level) / 2))
    half = math.hypot(student_factor(prompts, level) * by_prompts, normal * by_rates)
    value = float(statistic(corrected[None])[0])
    return value, (value - half, value + half)


def _over_prompts(
    generator: np.random.Generator, corrected: Tensor, statistic: Callable[[Tensor], Tensor], *, draws: int
) -> float:
    """Standard deviation of a statistic of corrected frequencies [P, K] where prompts are drawn with replacement."""
    rows = torch.from_numpy(generator.integers(len(corrected), size=(draws, len(corrected))))
    values = torch.cat([statistic(corrected[part]) for part in rows.split(_part(corrected))])
    return float(values.std(correction=0))


def _over_rates(
    generator: np.random.Generator,
    seen: Tensor,
    tables: list[Tensor],
    statistic: Callable[[Tensor], Tensor],
    *,
    draws: int,
) -> float:
    """Standard deviation of a statistic of frequencies [P, K1, ..., KA] corrected by drawn confusion rates."""
    rates = [rate[:, None].split(_part(seen)) for rate in _drawn_rates(generator, tables, draws)]
    values = [statistic(_shares(_inverted(seen, part), len(tables)).flatten(2)) for part in zip(*rates, strict=True)]
    return float(torch.cat(values).std(correction=0))


def confusion_rates(confusions: Confusions, shape: Sequence[int]) -> list[Tensor]:
    """Confusion matrices with rows that sum to 1, float64 [Ka, Ka], checked against the last axes of a shape.

    Raises:
        ConfigurationError: A matrix does not fit, has a true class without a face, or cannot be inverted. All problems
            are reported together.
    """
    expected = tuple(shape)[len(shape) - len(confusions) :]
    rates = []
    with Problems("confusions") as problems:
        if not confusions or len(confusions) > len(shape):
            raise ConfigurationError(
                f"{len(confusions)} matrices for frequencies of shape {tuple(shape)}: give one each"
            )
        for index, (table, classes) in enumerate(zip(confusions, expected, strict=True)):
            matrix = torch.as_tensor(table, dtype=torch.float64).detach().cpu()
            if tuple(matrix.shape) != (classes, classes) or bool((matrix < 0).any()):
                problems.add(f"matrix {index} has shape {tuple(matrix.shape)}, give counts [{classes}, {classes}]")
                continue
            totals = matrix.sum(dim=1, keepdim=True)
            if bool((totals == 0).any()):
                empty = [row for row, total in enumerate(totals.flatten().tolist()) if total == 0]
                problems.add(f"matrix {index} has no validation face of true class {empty}: validate on some")
                continue
            rate = matrix / totals
            if not float(torch.linalg.cond(rate)) < LARGEST_CONDITION:
                problems.add(f"matrix {index} is {table}: its classes are hardly told apart, use another classifier")
            rates.append(rate)
    return rates


def _validation_counts(confusions: Confusions, shape: Sequence[int]) -> list[Tensor]:
    confusion_rates(confusions, shape)
    tables = [torch.as_tensor(table, dtype=torch.float64).detach().cpu() for table in confusions]
    if any(bool((table != table.round()).any()) for table in tables):
        raise ConfigurationError(
            "confusions are no whole numbers: give counts, which say how sure they are, not shares"
        )
    return tables


def _drawn_rates(generator: np.random.Generator, tables: list[Tensor], draws: int) -> list[Tensor]:
    """Per attribute posterior draws of the confusion rates, [draws, Ka, Ka]."""
    drawn = []
    for table in tables:
        prior = 1 / len(table)
        rows = [generator.dirichlet(row + prior, size=draws) for row in table.numpy()]
        drawn.append(torch.from_numpy(np.stack(rows, axis=1)))
    return drawn


def _inverted(seen: Tensor, rates: Sequence[Tensor]) -> Tensor:
    """Solves p A = q along each of the last A axes of q [..., K1, ..., KA]; leading axes of rates broadcast."""
    attributes = len(rates)
    for axis, rate in enumerate(rates):
        place = axis - attributes
        moved = seen.movedim(place, -1)
        shape = moved.shape
        inverse = torch.linalg.inv(rate)
        lead = max(seen.ndim - attributes, rate.ndim - 2)
        cells = moved.reshape(*shape[: seen.ndim - attributes], -1, shape[-1])
        solved = cells @ inverse
        seen = solved.reshape(*solved.shape[:lead], *shape[seen.ndim - attributes :]).movedim(-1, place)
    return seen


def _shares(values: Tensor, axes: int) -> Tensor:
    """Euclidean projection on the simplex, over the last axes taken together.

    The projection is max(v - s, 0) with the one s that makes it sum to 1 (M. Held, P. Wolfe and H. P. Crowder,
    Mathematical Programming 6, 1974).
    """
    flat = values.flatten(values.ndim - axes)
    ordered = flat.sort(dim=-1, descending=True).values
    ranks = torch.arange(1, flat.shape[-1] + 1, dtype=flat.dtype)
    shifts = (ordered.cumsum(dim=-1) - 1) / ranks
    kept = (ordered > shifts).sum(dim=-1, keepdim=True).clamp(min=1)
    return (flat - shifts.gather(-1, kept - 1)).clamp(min=0.0).view(values.shape)


def _part(corrected: Tensor) -> int:
    """How many draws are held at once."""
    return max(1, 4_000_000 // corrected.numel())


def _check_settings(level: float, draws: int) -> None:
    if draws < 2 or not 0 < level < 1:
        raise ConfigurationError(f"draws={draws}, level={level}: use at least 2 draws and a level between 0 and 1")
