"""The distributional alignment loss, as it stands in a config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from fairlit.errors import Problems
from fairlit.functional.alignment.assignment import Assignment, assign_targets
from fairlit.functional.alignment.assignment import alignment_loss as confident_cross_entropy
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.statistics.classifier_error import seen_frequencies


@dataclass(frozen=True)
class AlignmentLoss:
    """Pulls samples to classes such that together they follow the target (Shen et al., ICLR 2024, section 4.1).

    Attributes:
        threshold: least certainty C of an assigned class; samples below it are left alone.
        draws: number of target label sets over which the transport plan is averaged.
        class_costs: attribute -> target class -> coordinate class -> factor on that coordinate in the transport cost.
        weight: factor on the loss.
        equal: unit that counts the same where several faces of an image count: every `face`, or every `image`, whose
            faces share its weight.
        margin: logits by which a face must lie beyond the border to its class for half of the gradient it has on the
            border; see `functional.alignment.assignment.alignment_loss`.
        label_smoothing: share of the mass of a face's target class that goes to all classes evenly.
        crop_jitter: largest shift of a face's crop, as a share of its side, and largest relative change of its size,
            drawn anew for each face in each step; this loss alone sees such crops.
        correct_errors: whether faces are assigned to the shares as which a classifier with the errors of its validation
            sees the target, instead of to the target: one that takes a twentieth of the women for men and no man for a
            woman is to see 47.5 % women where there are half. Validate it on generated faces.
    """

    threshold: float = 0.8
    draws: int = 100
    class_costs: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    weight: float = 1.0
    equal: Literal["face", "image"] = "face"
    margin: float = 0.0
    label_smoothing: float = 0.0
    crop_jitter: float = 0.0
    correct_errors: bool = False

    def __post_init__(self) -> None:
        with Problems("alignment") as problems:
            if not 0 <= self.threshold <= 1:
                problems.add(f"threshold: got {self.threshold}; expected a confidence, between 0 and 1; give 0.8, say")
            if self.draws < 1:
                problems.add(f"draws: got {self.draws}; give at least 1, e.g. 100")
            problems.at_least("weight", self.weight, 0)
            if self.equal not in ("face", "image"):
                problems.add(f"equal: got {self.equal!r}; choose face or image")
            problems.at_least("margin", self.margin, 0)
            for name, share in (("label_smoothing", self.label_smoothing), ("crop_jitter", self.crop_jitter)):
                if not 0 <= share < 1:
                    problems.add(f"{name}: got {share}; expected a share from 0 to below 1; give 0.1, say")

    def check(self, target: TargetDistribution, problems: Problems) -> None:
        """Note attributes and classes in `class_costs` that the target does not have."""
        nobody = {name: torch.zeros(0, len(classes)) for name, classes in target.classes.items()}
        with problems.collecting():
            self.assign(nobody, target, seed=0)

    def assign(self, probabilities: dict[str, Tensor], target: TargetDistribution, seed: int) -> Assignment:
        """Assign a class to every sample; see `functional.assign_targets`."""
        costs = self.class_costs or None
        return assign_targets(probabilities, target, draws=self.draws, seed=seed, class_costs=costs)

    def as_seen(self, target: TargetDistribution, confusions: Mapping[str, Tensor]) -> TargetDistribution:
        """Return the target to assign to: as the classifier sees it, where its errors are to be corrected for.

        Args:
            target: target distribution, classes in the classifier's order.
            confusions: attribute -> counts [K, K] of validation faces, rows labelled and columns predicted classes.
        """
        if not self.correct_errors:
            return target
        tables = [confusions[name] for name in target.attributes]
        return TargetDistribution.from_joint(target.classes, seen_frequencies(target.table, tables))

    def face_weights(self, counts: Tensor) -> Tensor:
        """Return what each face counts, float32 [F], image by image; `counts` int64 [N] are the faces of each image."""
        per_face = counts.repeat_interleave(counts).float()
        return torch.ones_like(per_face) if self.equal == "face" else 1 / per_face

    def __call__(self, logits: dict[str, Tensor], assignment: Assignment, weights: Tensor) -> Tensor:
        """Return the weighted sum (not mean) of the cross-entropy of samples whose assignment is confident.

        Args:
            logits: attribute -> [F, K].
            assignment: of these F faces.
            weights: [F], what each counts.
        """
        entropy = confident_cross_entropy(
            logits,
            assignment,
            threshold=self.threshold,
            margin=self.margin,
            label_smoothing=self.label_smoothing,
            reduction="none",
        )
        return self.weight * (weights.to(entropy) * entropy).sum()
