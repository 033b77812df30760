"""Target labels: from what the classifier sees on all ranks to what each face of this rank is to become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from fairlit.faces.observation import Observation
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.statistics.fairness import pairwise_bias, total_variation
from fairlit.losses import AlignmentLoss
from fairlit.results.figures import is_uniform
from fairlit.training.distributed import ranks


@dataclass(frozen=True)
class TargetLabels:
    """Classes that the F faces of this rank are to become, in the order of its observation.

    Attributes:
        labels: attribute -> LongTensor [F], the class to become.
        confidence: attribute -> [F], certainty of that class.
        weights: float32 [F], what each face counts.
        num_images: number of images over all ranks.
        total_weight: sum of the weights over all ranks.
        scale: factor on the loss, the number of ranks: strategies average gradients over them.
    """

    labels: dict[str, Tensor]
    confidence: dict[str, Tensor]
    weights: Tensor
    num_images: int
    total_weight: float
    scale: float = 1.0


def assign_over_ranks(
    observation: Observation,
    target: TargetDistribution,
    num_images: int,
    *,
    alignment: AlignmentLoss,
    seed: int,
    confusions: Mapping[str, Tensor] = MappingProxyType({}),
) -> tuple[TargetLabels, dict[str, Tensor | float]]:
    """Assign target classes to the faces of all ranks together and pick out this rank's.

    Args:
        observation: this rank's images; every rank calls this, also one without a face.
        target: classes in the order of the observation's columns.
        num_images: number of images over all ranks.
        alignment: settings of the assignment.
        seed: seed of the draws of target labels; the same on every rank.
        confusions: confusion matrices of the classifier's validation, for `alignment.correct_errors`.

    Returns:
        The assignment of this rank's faces, and figures to log about all of them.
    """
    counts = ranks.gather_rows(observation.faces.counts, num_images)
    max_faces = max(int(counts.max()), 1)
    there = torch.arange(max_faces, device=counts.device) < counts[:, None]
    gathered = {}
    for name in target.attributes:
        rows = observation.padded(_finite(observation.probabilities[name]), max_faces, 0.0)
        gathered[name] = ranks.gather_rows(rows, num_images)[there]
    assignment = alignment.assign(gathered, alignment.as_seen(target, confusions), seed)
    weights = alignment.face_weights(counts)
    target_labels = TargetLabels(
        {name: _of_rank(rows, there) for name, rows in assignment.labels.items()},
        {name: _of_rank(rows, there) for name, rows in assignment.confidence.items()},
        _of_rank(weights, there),
        num_images,
        float(weights.sum()),
        float(ranks.world_size()),
    )
    logs: dict[str, Tensor | float] = {"faces/missing": (counts == 0).float().mean()}
    if max_faces > 1:
        logs["faces/per_image"] = counts.float().mean()
    if len(weights):
        certain = [(rows >= alignment.threshold).float().mean() for rows in assignment.confidence.values()]
        logs["faces/confident_target"] = torch.stack(certain).mean()
        logs.update(_deviations(gathered, target))
    return target_labels, logs


def _finite(probabilities: Tensor) -> Tensor:
    """Return equal shares for faces [F, K] that the classifier overflowed on.

    One rank's NaN must not decide the labels of the others; it makes the gradient one too, and the step is skipped.
    """
    equal = probabilities.new_tensor(1 / probabilities.shape[-1])
    return torch.where(probabilities.isfinite().all(dim=-1, keepdim=True), probabilities, equal)


def _of_rank(rows: Tensor, there: Tensor) -> Tensor:
    """Return this rank's share of one row a face over all ranks; `there` bool [images, max_faces] says who has them."""
    everyone = rows.new_zeros((*there.shape, *rows.shape[1:]))
    everyone[there] = rows
    mine = slice(ranks.rank(), None, ranks.world_size())
    return everyone[mine][there[mine]]


def _deviations(probabilities: dict[str, Tensor], target: TargetDistribution) -> dict[str, Tensor | float]:
    """Return the bias of the arg-max classes: per attribute, and over the joint classes.

    Where the target is not uniform, their distance to it too: there it is the distance that is to fall. Where it is one
    class, as that of a prompt that names one, the share of that class alone.
    """
    logs: dict[str, Tensor | float] = {}

    def log(name: str, classes: Tensor, shares: Tensor) -> None:
        found = torch.bincount(classes, minlength=len(shares)) / len(classes)
        if shares.max() == 1:
            logs[f"obeyed/{name}"] = found[shares.argmax()]
            return
        logs[f"bias/{name}"] = pairwise_bias(found)
        if not is_uniform(shares.tolist()):
            logs[f"tv/{name}"] = total_variation(found, shares)

    joint = torch.zeros(len(next(iter(probabilities.values()))), dtype=torch.long)
    for name, rows in probabilities.items():
        classes = rows.argmax(dim=-1).cpu()
        joint = joint * rows.shape[-1] + classes
        log(name, classes, target.marginal(name))
    if len(probabilities) > 1:
        log("joint", joint, target.table.flatten())
    return logs
