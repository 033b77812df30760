"""Expected optimal-transport plan between samples and label sets drawn from a target distribution.

Shen et al., Finetuning Text-to-Image Diffusion Models for Fairness, ICLR 2024 (arXiv 2311.07604), section 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from scipy import special
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from fairlit.errors import Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution

ClassCosts = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Attribute -> target class -> class -> factor on that class's coordinate of the cost, where it is not 1."""

_SUM_TOLERANCE = 1e-2  # half-precision softmax rows are off by up to some 1e-3
_TIE_BREAK = 1e-7


def expected_assignment(
    probabilities: Mapping[str, Tensor],
    target: TargetDistribution,
    *,
    draws: int = 100,
    seed: int = 0,
    class_costs: ClassCosts | None = None,
) -> Tensor:
    """Probability with which each sample is assigned to each joint class ([S], section 4.1).

    N label sets are drawn i.i.d. from the target and matched with the N samples at least cost, where the
    cost of giving sample i the classes u is sqrt(sum_a ||p_i^a - onehot(u^a)||^2); the result is the mean of
    this matching over draws. Draws enter by their class counts alone, so each draw is a transport problem
    between N samples and the few joint classes. For a single attribute with two classes the mean over all
    draws has a closed form, and `draws` and `seed` have no effect.

    Samples that the classifier cannot tell apart are ranked by their position, in every draw alike; without
    a rule, a saturated classifier would make the plan of each draw arbitrary and its mean indecisive.

    Args:
        probabilities: Attribute -> [N, K], rows in [0, 1] that sum to 1, columns in the target's class order.
        target: Distribution to follow, over exactly these attributes.
        draws: Number of draws, 1 or more.
        seed: Of the draws. Equal input and seed give equal output on every rank.
        class_costs: Attribute -> target class -> class -> positive factor: {"age": {"old": {"young": 2.0}}}
            counts the coordinate of `young` twice where the target is `old`.

    Returns:
        float64 [N, K1 * ... * KA] on the CPU: rows sum to 1; joint classes in the order of `target.table.flatten()`.

    Raises:
        ConfigurationError: Attributes, classes or shapes do not fit each other, or numbers are out of range.

    Example:
        >>> target = TargetDistribution({"gender": {"female": 0.5, "male": 0.5}})
        >>> expected_assignment({"gender": torch.tensor([[0.9, 0.1], [0.6, 0.4]])}, target)
        tensor([[0.7500, 0.2500],
                [0.2500, 0.7500]], dtype=torch.float64)
    """
    rows = _checked(probabilities, target, draws)
    factors = _cost_factors(target, class_costs)
    shares = target.table.flatten()
    if len(shares) == 2:
        return torch.from_numpy(_binary_plan(rows[0][:, 1], float(shares[1])))
    return torch.from_numpy(_mean_plan(_joint_costs(rows, factors), shares, draws, seed=seed))


def assignment_costs(
    probabilities: Mapping[str, Tensor], target: TargetDistribution, class_costs: ClassCosts | None = None
) -> Tensor:
    """Cost of giving each sample each joint class, sqrt(sum_a ||p_i^a - onehot(u^a)||^2).

    Args:
        probabilities: as for `expected_assignment`.
        target: names attributes and classes; its shares have no say.
        class_costs: as for `expected_assignment`.

    Returns:
        float64 [N, K1 * ... * KA] on the CPU, columns in the order of `target.table.flatten()`.

    Raises:
        ConfigurationError: as for `expected_assignment`.
    """
    rows = _checked(probabilities, target, draws=1)
    return torch.from_numpy(_joint_costs(rows, _cost_factors(target, class_costs)))


def _binary_plan(p: np.ndarray, share: float) -> np.ndarray:
    """Closed form for two classes.

    The difference of the two costs falls as p rises, whatever the (positive) cost factors are, so a plan with
    m draws of class 1 gives class 1 to the m samples with the highest p. The sample of rank r (from 0, by
    rising p) is among them when m >= N - r, where m ~ Binomial(N, share).
    """
    n = len(p)
    ranks = np.empty(n, dtype=np.int64)
    ranks[np.argsort(p, kind="stable")] = np.arange(n)
    first = special.bdtr(n - ranks - 1, n, share)
    second = special.bdtrc(n - ranks - 1, n, share)
    return np.stack([first, second], axis=1)


def _mean_plan(costs: np.ndarray, shares: Tensor, draws: int, *, seed: int) -> np.ndarray:
    """Mean over draws of the optimal plan between N samples and the drawn numbers of each joint class."""
    n, classes = costs.shape
    plan = np.zeros((n, classes))
    if n == 0:
        return plan
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.multinomial(shares, draws * n, replacement=True, generator=generator).view(draws, n).numpy()
    counts = np.stack([np.bincount(row, minlength=classes) for row in drawn])
    distinct, multiplicity = np.unique(counts, axis=0, return_counts=True)
    for places, times in zip(distinct, multiplicity, strict=True):
        labels = np.repeat(np.arange(classes), places)
        samples, places_taken = linear_sum_assignment(costs[:, labels])
        plan[samples, labels[places_taken]] += times
    return plan / draws


def _joint_costs(rows: list[np.ndarray], factors: list[np.ndarray]) -> np.ndarray:
    """Cost [N, K1 * ... * KA] of every joint class for every sample."""
    squared = np.zeros((len(rows[0]), 1))
    for p, factor in zip(rows, factors, strict=True):
        difference = factor * (p[:, None, :] - np.eye(p.shape[1]))
        own = (difference**2).sum(axis=2)
        squared = (squared[:, :, None] + own[:, None, :]).reshape(len(p), squared.shape[1] * own.shape[1])
    costs = np.sqrt(squared)
    n, classes = costs.shape
    # Far below any difference that a classifier's float32 output can express; makes equal samples keep their order.
    return costs - _TIE_BREAK * np.outer(np.arange(n), np.arange(classes)) / max(1, n * classes)


def _cost_factors(target: TargetDistribution, class_costs: ClassCosts | None) -> list[np.ndarray]:
    """Per attribute [K target classes, K coordinates]: the factors of `class_costs`, elsewhere 1."""
    factors = {attribute: np.ones((len(names), len(names))) for attribute, names in target.classes.items()}
    with Problems("class_costs") as problems:
        for attribute, by_target in (class_costs or {}).items():
            if attribute not in factors:
                problems.add(f"attribute {attribute!r} is unknown, use one of {', '.join(map(repr, factors))}")
                continue
            names = target.classes[attribute]
            for target_class, by_class in by_target.items():
                for name, factor in by_class.items():
                    unknown = [wrong for wrong in (target_class, name) if wrong not in names]
                    if unknown:
                        problems.add(f"class {unknown[0]!r} of {attribute!r} is unknown, use one of {names}")
                    elif not 0 < factor < float("inf"):
                        problems.add(f"{attribute}.{target_class}.{name} is {factor!r}, give a factor above 0")
                    else:
                        factors[attribute][names.index(target_class), names.index(name)] = factor
    return list(factors.values())


def _checked(probabilities: Mapping[str, Tensor], target: TargetDistribution, draws: int) -> list[np.ndarray]:
    """The probabilities as float64 arrays [N, K] in the target's attribute order."""
    rows: list[np.ndarray] = []
    with Problems("target assignment") as problems:
        if draws < 1:
            problems.add(f"draws is {draws}, use 1 or more")
        for attribute in probabilities:
            if attribute not in target.attributes:
                problems.add(f"probabilities of {attribute!r} have no target, leave them out or add shares for them")
        for attribute, names in target.classes.items():
            if attribute not in probabilities:
                problems.add(f"{attribute!r} has a target but no probabilities, add them or restrict the target")
                continue
            p = probabilities[attribute].detach().to("cpu", torch.float64)
            if p.ndim != 2 or p.shape[1] != len(names):
                problems.add(f"probabilities of {attribute!r} have shape {tuple(p.shape)}, give [N, {len(names)}]")
            elif not bool(((p >= 0) & (p <= 1 + _SUM_TOLERANCE)).all()):
                problems.add(f"probabilities of {attribute!r} leave [0, 1] or are not finite, give a softmax output")
            elif not bool(((p.sum(dim=1) - 1).abs() <= _SUM_TOLERANCE).all()):
                problems.add(f"probabilities of {attribute!r} do not sum to 1 per row, give a softmax output")
            rows.append(p.numpy())
        sizes = sorted({len(p) for p in rows})
        if len(sizes) > 1:
            problems.add(f"attributes have different numbers of samples {sizes}, give one row per sample to each")
    return rows
