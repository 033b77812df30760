"""Target classes for generated samples, and the loss that pulls samples towards them.

Shen et al., Finetuning Text-to-Image Diffusion Models for Fairness, ICLR 2024 (arXiv 2311.07604), section 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from fairlit.errors import ConfigurationError
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.alignment.transport import ClassCosts, expected_assignment

UNDECIDED = -2
"""Label that no class has, not even the -1 of a face that is not there; see `Assignment.decided`."""


@dataclass(frozen=True)
class Assignment:
    """What each of N samples shall become.

    Attributes:
        labels: Attribute -> int64 [N], index of the class to become.
        confidence: Attribute -> float64 [N] in [1 / K, 1], the probability with which the expected transport
            plan gives the sample this class.
    """

    labels: dict[str, Tensor]
    confidence: dict[str, Tensor]

    def __len__(self) -> int:
        """Number of samples."""
        return len(next(iter(self.labels.values())))

    def select(self, index: Tensor | slice) -> Assignment:
        """The assignment of some samples: indices, a bool mask or a slice."""
        return Assignment(
            {attribute: labels[index] for attribute, labels in self.labels.items()},
            {attribute: confidence[index] for attribute, confidence in self.confidence.items()},
        )

    def confident(self, threshold: float = 0.8) -> dict[str, Tensor]:
        """Attribute -> bool [N], whether the confidence reaches the threshold."""
        return {attribute: confidence >= threshold for attribute, confidence in self.confidence.items()}

    def decided(self, threshold: float = 0.8) -> dict[str, Tensor]:
        """Attribute -> int64 [N], the class to become, and `UNDECIDED` where the confidence is below the threshold."""
        return {
            attribute: torch.where(confident, self.labels[attribute], UNDECIDED)
            for attribute, confident in self.confident(threshold).items()
        }


@torch.no_grad()
def assign_targets(
    probabilities: Mapping[str, Tensor],
    target: TargetDistribution,
    *,
    draws: int = 100,
    seed: int = 0,
    class_costs: ClassCosts | None = None,
) -> Assignment:
    """Gives each sample the class that the expected transport plan gives it most often ([S], section 4.1).

    Takes the samples of all ranks: equal input gives an equal assignment everywhere.

    Args:
        probabilities: Attribute -> [N, K], rows in [0, 1] that sum to 1, columns in the target's class order;
            N may be 0.
        target: Distribution to follow, over exactly these attributes.
        draws: Number of draws of N label sets; without effect for one attribute with two classes.
        seed: Of the draws.
        class_costs: Attribute -> target class -> class -> positive factor on that coordinate of the cost.

    Returns:
        Labels and confidences on the device of the probabilities. Of equally likely classes the first is taken.

    Raises:
        ConfigurationError: Attributes, classes or shapes do not fit each other, or numbers are out of range.

    Example:
        >>> target = TargetDistribution({"gender": {"female": 0.5, "male": 0.5}})
        >>> assignment = assign_targets({"gender": torch.tensor([[0.9, 0.1], [0.8, 0.2]])}, target)
        >>> assignment.labels["gender"], assignment.confidence["gender"]
        (tensor([0, 1]), tensor([0.7500, 0.7500], dtype=torch.float64))
    """
    plan = expected_assignment(probabilities, target, draws=draws, seed=seed, class_costs=class_costs)
    joint = plan.unflatten(1, target.table.shape)
    labels, confidence = {}, {}
    for axis, attribute in enumerate(target.attributes, start=1):
        others = [other for other in range(1, joint.ndim) if other != axis]
        marginal = joint.sum(dim=others) if others else joint
        device = probabilities[attribute].device
        labels[attribute] = marginal.argmax(dim=1).to(device)
        confidence[attribute] = marginal.amax(dim=1).to(device)
    return Assignment(labels, confidence)


def alignment_loss(
    logits: Mapping[str, Tensor],
    assignment: Assignment,
    *,
    threshold: float = 0.8,
    margin: float = 0.0,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy towards the assigned classes, where the assignment is confident ([S], section 4.1).

    With a margin m, the assigned class's logit counts as if it were lower by m (additive margin softmax; Wang et al.,
    2018, arXiv 1801.05599): of two classes, a sample has the gradient at a distance d between its logits that it would
    have without at d - m, so that it is moved until it is well past the border. Label smoothing s puts s / K of the
    target's mass on each class (Szegedy et al., CVPR 2016): samples are drawn back from more certainty than that.

    Args:
        logits: Attribute -> [N, K], the attributes of the assignment; N may be 0.
        assignment: Of these N samples.
        threshold: Least confidence (C in the paper) for a sample to count.
        margin: Margin m, 0 or more, in units of logits.
        label_smoothing: Smoothing s, in [0, 1).
        reduction: "mean" divides by N, unconfident samples included; "sum" does not, for samples that come in
            chunks; "none" gives one value a sample.

    Returns:
        Scalar, 0 or more; or [N]. With N = 0 it is a 0 through which gradients (zeros) still flow.

    Raises:
        ConfigurationError: Attributes differ, or the reduction is none of the three.

    Example:
        >>> assignment = Assignment({"age": torch.tensor([0, 1])}, {"age": torch.tensor([0.9, 0.6])})
        >>> alignment_loss({"age": torch.zeros(2, 2)}, assignment)  # log(2) of one sample, over two
        tensor(0.3466)
    """
    if reduction not in ("mean", "sum", "none"):
        raise ConfigurationError(f"reduction is {reduction!r}, use 'mean', 'sum' or 'none'")
    if set(logits) != set(assignment.labels):
        raise ConfigurationError(
            f"logits of {sorted(logits)}, assignment of {sorted(assignment.labels)}: give both the same attributes"
        )
    each = torch.stack([values.sum(dim=1) * 0 for values in logits.values()]).sum(dim=0)
    for attribute, confident in assignment.confident(threshold).items():
        rows, labels = logits[attribute], assignment.labels[attribute]
        if margin:
            rows = rows - margin * one_hot(labels, rows.shape[1]).to(rows)
        entropy = cross_entropy(rows, labels, reduction="none", label_smoothing=label_smoothing)
        each = each + torch.where(confident, entropy, torch.zeros_like(entropy))
    if reduction == "none":
        return each
    return each.sum() / max(1, len(assignment)) if reduction == "mean" else each.sum()
