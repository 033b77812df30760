"""What the figures of an audit would be had the classifier made no errors, as far as its validation tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from fairlit.auditing.measure import JOINT, blocks_of
from fairlit.errors import ConfigurationError
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.statistics.classifier_error import (
    confusion_rates,
    correct_frequencies,
    corrected_bootstrap,
    corrected_intervals,
)
from fairlit.functional.statistics.fairness import pairwise_biases, total_variations
from fairlit.functional.statistics.intervals import Interval

_NONE = (float("nan"), float("nan"))


def corrected_figures(
    figures: Mapping[str, Any], target: TargetDistribution, confusions: Mapping[str, Tensor], seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Frequencies, distance and bias, corrected for the classifier's errors on its validation faces.

    See `functional.statistics.classifier_error` for what the correction rests on. Intervals hold the differences
    between prompts and the uncertainty of the confusion matrices.

    Args:
        figures: from `auditing.measure.measure`.
        target: classes in the order of the figures.
        confusions: attribute -> counts [K, K] of validation faces, rows labelled and columns predicted classes, for
            the attributes that were validated.
        seed: of the draws.

    Returns:
        For each attribute that was validated, and for the joint classes where all were: `frequencies`, `tv` and
        `bias`, each with its interval under ``NAME_ci`` (NaN for distance and bias of a single prompt); or a `problem`,
        why there can be no correction. Empty without validation or faces.
    """
    found = {}
    for name, block in blocks_of(figures).items():
        attributes = target.attributes if name == JOINT else (name,)
        validated = [confusions[attribute] for attribute in attributes if attribute in confusions]
        entries = [blocks_of(entry)[name]["frequencies"] for entry in figures["per_prompt"] if entry["faces"]]
        if len(validated) < len(attributes) or not entries:
            continue
        shape = [len(target.classes[attribute]) for attribute in attributes]
        shares = torch.tensor([list(entry.values()) for entry in entries], dtype=torch.float64)
        faces = torch.tensor([entry["faces"] for entry in figures["per_prompt"] if entry["faces"]])
        counts = (shares * faces[:, None]).round().long().view(-1, *shape)
        try:
            confusion_rates(validated, counts.shape)
        except ConfigurationError as error:
            found[name] = {"problem": str(error)}
            continue
        wanted = torch.tensor(list(block["target"].values()), dtype=torch.float64)
        found[name] = _block(counts, validated, wanted, list(block["target"]), seed)
    return found


def _block(counts: Tensor, confusions: list[Tensor], wanted: Tensor, labels: list[str], seed: int) -> dict[str, Any]:
    """Corrected figures of counts [P, K1, ..., KA] against shares [K]."""

    def measured(statistic: Callable[[Tensor], Tensor]) -> tuple[float, Interval]:
        if len(counts) > 1:
            value, (low, high) = corrected_bootstrap(counts, confusions, statistic, seed=seed)
            return value, (max(0.0, low), min(1.0, high))
        shares = correct_frequencies(counts / counts.sum(), confusions).flatten(1)
        return float(statistic(shares[None])[0]), _NONE

    def share(index: int) -> Callable[[Tensor], Tensor]:
        return lambda frequencies: frequencies[:, :, index].mean(dim=1)

    shares = {label: measured(share(index)) for index, label in enumerate(labels)}
    intervals = {label: interval for label, (_, interval) in shares.items()}
    if len(counts) == 1:
        bounds = corrected_intervals(counts[0], confusions, seed=seed).flatten(0, -2).tolist()
        intervals = {label: (low, high) for label, (low, high) in zip(labels, bounds, strict=True)}
    tv, tv_ci = measured(lambda frequencies: total_variations(frequencies, wanted).mean(dim=1))
    bias, bias_ci = measured(lambda frequencies: pairwise_biases(frequencies).mean(dim=1))
    return {
        "frequencies": {label: value for label, (value, _) in shares.items()},
        "frequencies_ci": intervals,
        "tv": tv,
        "tv_ci": tv_ci,
        "bias": bias,
        "bias_ci": bias_ci,
    }
