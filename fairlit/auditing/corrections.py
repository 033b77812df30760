"""What the figures of an audit would be had the classifier made no errors, as far as its validation tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from fairlit.errors import ConfigurationError
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.statistics.classifier_error import (
    confusion_rates,
    correct_frequencies,
    corrected_bootstrap,
    corrected_intervals,
)
from fairlit.functional.statistics.fairness import pairwise_biases, total_variations
from fairlit.results.figures import JOINT, CorrectedFigures, DistributionFigures
from fairlit.results.record import Estimate

_MAX_CLASSES = 64  # of an attribute: thousands of confusion matrices are drawn at once


def corrected_figures(
    figures: DistributionFigures, target: TargetDistribution, confusions: Mapping[str, Tensor], *, seed: int = 0
) -> dict[str, CorrectedFigures]:
    """Return frequencies, distance and bias, corrected for the classifier's errors on its validation faces.

    See `functional.statistics.classifier_error` for what the correction rests on. Intervals hold the differences
    between prompts and the uncertainty of the confusion matrices; distance and bias of a single prompt have none.

    Args:
        figures: figures from `auditing.measure.measure`.
        target: target distribution, classes in the order of the figures.
        confusions: attribute -> counts [K, K] of validation faces, rows labelled and columns predicted classes, for
            the attributes that were validated.
        seed: seed of the draws.

    Returns:
        Figures of each attribute that was validated, and of the joint classes where all were. Empty without
        validation or faces.
    """
    found = {}
    for name, block in figures.blocks.items():
        attributes = target.attributes if name == JOINT else (name,)
        validated = [confusions[attribute] for attribute in attributes if attribute in confusions]
        entries = figures.with_faces
        if len(validated) < len(attributes) or not entries:
            continue
        shape = [len(target.classes[attribute]) for attribute in attributes]
        shares = torch.tensor(
            [[share.value for share in entry.blocks[name].frequencies.values()] for entry in entries],
            dtype=torch.float64,
        )
        faces = torch.tensor([entry.faces for entry in entries])
        counts = (shares * faces[:, None]).round().long().view(-1, *shape)
        if max(shape) > _MAX_CLASSES:
            found[name] = CorrectedFigures(problem=f"corrections are made for {_MAX_CLASSES} classes at most")
            continue
        try:
            confusion_rates(validated, counts.shape)
        except ConfigurationError as error:
            found[name] = CorrectedFigures(problem=str(error))
            continue
        found[name] = _corrected(counts, validated, block.target, seed=seed)
    return found


def _corrected(counts: Tensor, confusions: list[Tensor], target: Mapping[str, float], *, seed: int) -> CorrectedFigures:
    """Corrected figures of counts [P, K1, ..., KA]."""
    target_shares = torch.tensor(list(target.values()), dtype=torch.float64)

    def measured(statistic: Callable[[Tensor], Tensor]) -> Estimate:
        if len(counts) > 1:
            value, (low, high) = corrected_bootstrap(counts, confusions, statistic, seed=seed)
            return Estimate(value, max(0.0, low), min(1.0, high))
        shares = correct_frequencies(counts / counts.sum(), confusions).flatten(1)
        return Estimate(float(statistic(shares[None])[0]))

    def share(index: int) -> Callable[[Tensor], Tensor]:
        return lambda frequencies: frequencies[:, :, index].mean(dim=1)

    shares = {label: measured(share(index)) for index, label in enumerate(target)}
    if len(counts) == 1:
        bounds = corrected_intervals(counts[0], confusions, seed=seed).flatten(0, -2).tolist()
        shares = {label: Estimate(one.value, *ends) for (label, one), ends in zip(shares.items(), bounds, strict=True)}
    return CorrectedFigures(
        frequencies=shares,
        tv=measured(lambda frequencies: total_variations(frequencies, target_shares).mean(dim=1)),
        bias=measured(lambda frequencies: pairwise_biases(frequencies).mean(dim=1)),
    )
