"""Measures how often the intervals of `fairlit.functional` cover: ``python benchmarks/coverage_table.py``.

Prints a Markdown table, one row a method and a setting. Nominal level: 95 %. Methods that promise 95 % at least are
marked with >=. Everything is seeded: the same number of replicates gives the same table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fairlit.functional import (
    clopper_pearson,
    cluster_bootstrap,
    cluster_bootstrap_difference,
    corrected_bootstrap,
    corrected_intervals,
    goodman,
    noise_free_bias_interval,
    noise_free_total_variation_interval,
    total_variation_bound,
)
from fairlit.functional.statistics.fairness import pairwise_biases, total_variations

DRAWS = 400  # of each bootstrap: enough for a standard deviation


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        method: function whose intervals are measured.
        setting: population, figure and numbers, in words.
        measure: generator and number of replicates -> share of replicates in which the interval covers.
        at_least: whether the method promises 95 % at least instead of 95 % about.
    """

    method: str
    setting: str
    measure: Callable[[np.random.Generator, int], float]
    at_least: bool = False


def population(kind: str, generator: np.random.Generator, prompts: int, classes: int) -> np.ndarray:
    """Class shares of prompts of some kind, [P, K]."""
    even = np.full(classes, 1 / classes)
    tilted = np.full(classes, 0.1 / (classes - 1))
    tilted[0] = 0.9
    if kind == "balanced":
        return np.tile(even, (prompts, 1))
    if kind == "nearly balanced":
        return generator.dirichlet(np.full(classes, 20.0), prompts)
    if kind == "spread":
        return generator.dirichlet(np.ones(classes), prompts)
    if kind == "two kinds":
        return np.where(generator.random((prompts, 1)) < 0.3, tilted, tilted[::-1])
    return np.where(generator.random((prompts, 1)) < 0.1, np.eye(classes)[0], even)  # a tenth extreme


def figure(name: str, classes: int) -> Callable[[Tensor], Tensor]:
    """A statistic of frequencies [B, P, K]."""
    if name == "bias":
        return lambda f: pairwise_biases(f).mean(dim=1)
    if name == "distance":
        return lambda f: total_variations(f, ramp(classes)).mean(dim=1)
    return lambda f: f[:, :, 0].mean(dim=1)


def ramp(classes: int) -> Tensor:
    """Target shares 1 : 2 : ... : K."""
    weights = torch.arange(1, classes + 1, dtype=torch.float64)
    return weights / weights.sum()


def expected(statistic: Callable[[Tensor], Tensor], generator: np.random.Generator, p: np.ndarray, n: int) -> float:
    """Expected value of a statistic that is a mean over prompts, for prompts of shares p [P, K] with n images."""
    return float(statistic(torch.from_numpy(generator.multinomial(n, p) / n)[None])[0])


def over_prompts(kind: str, name: str, prompts: int, images: int, classes: int) -> Case:
    """`cluster_bootstrap` where prompts are drawn from a population."""
    statistic = figure(name, classes)

    def measure(generator: np.random.Generator, replicates: int) -> float:
        truth = expected(statistic, generator, population(kind, generator, 200_000, classes), images)
        hits = 0
        for replicate in range(replicates):
            counts = torch.from_numpy(generator.multinomial(images, population(kind, generator, prompts, classes)))
            low, high = cluster_bootstrap(counts, statistic, draws=DRAWS, seed=replicate)
            hits += low - 1e-9 <= truth <= high + 1e-9
        return hits / replicates

    return Case("cluster_bootstrap", f"{name}, {kind}: {prompts} prompts x {images}, {classes} classes", measure)


def over_images(name: str, shares: list[list[float]], images: int) -> Case:
    """`cluster_bootstrap` where the prompts stay and their images are drawn."""
    statistic, p = figure(name, len(shares[0])), np.array(shares)

    def measure(generator: np.random.Generator, replicates: int) -> float:
        truth = np.mean([expected(statistic, generator, np.tile(row, (200_000, 1)), images) for row in p])
        hits = 0
        for replicate in range(replicates):
            counts = torch.from_numpy(generator.multinomial(images, p))
            low, high = cluster_bootstrap(counts, statistic, draws=DRAWS, seed=replicate, resample="images")
            hits += low <= truth <= high
        return hits / replicates

    setting = f"{name}, resampling images: {len(p)} prompts x {images}, shares {shares[0]} ..."
    return Case("cluster_bootstrap", setting, measure)


def differences(name: str, prompts: int, images: int, shift: float) -> Case:
    """`cluster_bootstrap_difference` where the second method draws a share's log-odds towards balance."""
    statistic = figure(name, 2)

    def second(p: np.ndarray) -> np.ndarray:
        return (1 - shift) * p + shift / 2

    def measure(generator: np.random.Generator, replicates: int) -> float:
        p = population("spread", generator, 200_000, 2)
        truth = expected(statistic, generator, p, images) - expected(statistic, generator, second(p), images)
        hits = 0
        for replicate in range(replicates):
            p = population("spread", generator, prompts, 2)
            counts = [torch.from_numpy(generator.multinomial(images, shares)) for shares in (p, second(p))]
            low, high = cluster_bootstrap_difference(counts[0], counts[1], statistic, draws=DRAWS, seed=replicate)
            hits += low <= truth <= high
        return hits / replicates

    setting = f"{name}, second method {shift:.0%} of the way to balance: {prompts} prompts x {images}"
    return Case("cluster_bootstrap_difference", setting, measure)


def noise_free(name: str, kind: str, prompts: int, images: int, classes: int) -> Case:
    """The intervals of `fairlit.functional.statistics.cross_fitting`."""
    statistic = figure(name, classes)

    def interval(counts: Tensor) -> tuple[float, float]:
        if name == "bias":
            return noise_free_bias_interval(counts)
        return noise_free_total_variation_interval(counts, ramp(classes))

    def measure(generator: np.random.Generator, replicates: int) -> float:
        truth = float(statistic(torch.from_numpy(population(kind, generator, 200_000, classes))[None])[0])
        hits = 0
        for _ in range(replicates):
            low, high = interval(
                torch.from_numpy(generator.multinomial(images, population(kind, generator, prompts, classes)))
            )
            hits += low - 1e-9 <= truth <= high + 1e-9
        return hits / replicates

    method = "noise_free_bias_interval" if name == "bias" else "noise_free_total_variation_interval"
    return Case(method, f"{kind}: {prompts} prompts x {images}, {classes} classes", measure, at_least=True)


def exact(share: float, images: int) -> Case:
    """`clopper_pearson`."""

    def measure(generator: np.random.Generator, replicates: int) -> float:
        bounds = clopper_pearson(torch.from_numpy(generator.binomial(images, share, size=replicates)), images)
        return float(((bounds[:, 0] <= share) & (share <= bounds[:, 1])).double().mean())

    return Case("clopper_pearson", f"share {share} of {images} images", measure, at_least=True)


def simultaneous(shares: list[float], images: int) -> Case:
    """`goodman`."""

    def measure(generator: np.random.Generator, replicates: int) -> float:
        bounds = goodman(torch.from_numpy(generator.multinomial(images, shares, size=replicates)))
        truth = torch.tensor(shares, dtype=torch.float64)
        return float(((bounds[..., 0] <= truth) & (truth <= bounds[..., 1])).all(dim=1).double().mean())

    return Case("goodman", f"all of {shares} of {images} images", measure)


def bound(shares: list[float], target: list[float], images: int) -> Case:
    """`total_variation_bound`."""

    def measure(generator: np.random.Generator, replicates: int) -> float:
        bounds = total_variation_bound(torch.from_numpy(generator.multinomial(images, shares, size=replicates)), target)
        truth = float(np.abs(np.array(shares) - np.array(target)).sum() / 2)
        return float((bounds >= truth - 1e-9).double().mean())

    return Case("total_variation_bound", f"{shares} against {target}, {images} images", measure, at_least=True)


def corrected(shares: list[float], rates: list[list[float]], images: int, validation: int) -> Case:
    """`corrected_intervals`, the first class; as many validation faces of each class."""
    p, confusion = np.array(shares), np.array(rates)

    def measure(generator: np.random.Generator, replicates: int) -> float:
        hits = 0
        for replicate in range(replicates):
            counts = torch.from_numpy(generator.multinomial(images, p @ confusion))
            tables = [torch.from_numpy(generator.multinomial(validation, confusion))]
            low, high = corrected_intervals(counts, tables, draws=DRAWS, seed=replicate)[0].tolist()
            hits += low <= shares[0] <= high
        return hits / replicates

    right = [row[index] for index, row in enumerate(rates)]
    setting = f"{shares}, classes right {right}: {images} images, {validation} validation faces a class"
    return Case("corrected_intervals", setting, measure)


def corrected_over_prompts(prompts: int, images: int, validation: int) -> Case:
    """`corrected_bootstrap` of the mean share of the first of two classes."""
    confusion = np.array([[0.95, 0.05], [0.15, 0.85]])
    statistic = figure("share", 2)

    def measure(generator: np.random.Generator, replicates: int) -> float:
        hits = 0
        for replicate in range(replicates):
            p = generator.beta(6, 4, size=prompts)
            seen = np.stack([p, 1 - p], axis=1) @ confusion
            tables = [torch.from_numpy(generator.multinomial(validation, confusion))]
            counts = torch.from_numpy(generator.multinomial(images, seen))
            _, (low, high) = corrected_bootstrap(counts, tables, statistic, draws=DRAWS, seed=replicate)
            hits += low <= 0.6 <= high
        return hits / replicates

    setting = f"mean share: {prompts} prompts x {images}, {validation} validation faces a class"
    return Case("corrected_bootstrap", setting, measure)


CASES = [
    *(exact(share, images) for share, images in ((0.5, 20), (0.05, 60), (0.5, 60))),
    *(
        simultaneous(shares, images)
        for shares, images in (
            ([0.25] * 4, 48),
            ([0.7, 0.2, 0.1], 60),
            ([0.9, 0.05, 0.05], 60),
            ([0.9, 0.05, 0.05], 20),
        )
    ),
    *(
        over_prompts(kind, name, prompts, images, classes)
        for prompts, images, classes in ((5, 48, 2), (10, 48, 2), (10, 48, 4), (50, 60, 2))
        for kind, name in (
            ("balanced", "bias"),
            ("nearly balanced", "bias"),
            ("spread", "bias"),
            ("spread", "distance"),
            ("two kinds", "share"),
            ("a tenth extreme", "bias"),
        )
    ),
    over_images("bias", [[0.5, 0.5]], 60),
    over_images("bias", [[0.6, 0.4]], 60),
    over_images("bias", [[0.9, 0.1]], 60),
    over_images("bias", [[0.5, 0.5], [0.6, 0.4], [0.9, 0.1], [0.3, 0.7]] * 3, 48),
    over_images("share", [[0.5, 0.5], [0.6, 0.4], [0.9, 0.1], [0.3, 0.7]] * 3, 48),
    *(differences(name, prompts, 48, 0.5) for name in ("bias", "share") for prompts in (10, 50)),
    *(
        noise_free(name, kind, prompts, images, classes)
        for name in ("bias", "distance")
        for kind in ("balanced", "nearly balanced", "spread")
        for prompts, images, classes in ((10, 48, 4), (50, 60, 2))
    ),
    bound([0.5, 0.5], [0.5, 0.5], 60),
    bound([0.6, 0.4], [0.5, 0.5], 60),
    bound([0.4, 0.3, 0.2, 0.1], [0.25] * 4, 48),
    bound([0.25] * 4, [0.25] * 4, 48),
    *(
        corrected(shares, rates, images, validation)
        for shares, rates in (
            ([0.5, 0.5], [[0.95, 0.05], [0.02, 0.98]]),
            ([0.9, 0.1], [[0.9, 0.1], [0.2, 0.8]]),
            ([0.4, 0.3, 0.2, 0.1], [[0.9, 0.1, 0, 0], [0.1, 0.8, 0.1, 0], [0, 0.1, 0.8, 0.1], [0, 0, 0.1, 0.9]]),
        )
        for images, validation in ((100, 1000), (1000, 100), (100, 50))
    ),
    *(corrected_over_prompts(prompts, 48, validation) for prompts, validation in ((10, 1000), (50, 100))),
]


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--replicates", type=int, default=2000, help="simulated audits a row")
    parser.add_argument("--method", default="", help="only methods whose name contains this")
    arguments = parser.parse_args()
    print("| method | setting | promised | covers |\n|---|---|---|---|")
    for number, case in enumerate(CASES):
        if arguments.method in case.method:
            coverage = case.measure(np.random.default_rng(number), arguments.replicates)
            promised = ">= 95 %" if case.at_least else "95 %"
            print(f"| {case.method} | {case.setting} | {promised} | {100 * coverage:.1f} % |", flush=True)


if __name__ == "__main__":
    main()
