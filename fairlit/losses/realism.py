"""The face realism loss: a changed face must look like a real one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fairlit.errors import Problems


@dataclass(frozen=True)
class FaceRealismLoss:
    """Draws the embedding of a face towards that of a real face (Shen et al., ICLR 2024, section 4.3).

    Attributes:
        weight: factor on the loss; 0 switches it off.
        confidence: least certainty of the classifier about every attribute of the reference face. Where it is reached
            and nothing must change, a face is drawn towards its reference face, elsewhere towards the nearest real one.
    """

    weight: float = 1.0
    confidence: float = 0.8

    def __post_init__(self) -> None:
        with Problems("realism") as problems:
            problems.at_least("weight", self.weight, 0)
            if not 0 <= self.confidence <= 1:
                problems.add(
                    f"confidence: got {self.confidence}; expected a confidence, between 0 and 1; give 0.8, say"
                )

    def keeps_reference(
        self,
        *,
        target_labels: Mapping[str, Tensor],
        reference_labels: Mapping[str, Tensor],
        certainty: Mapping[str, Tensor],
    ) -> Tensor:
        """Return a bool [F]: which faces are drawn towards the same face in the reference image.

        Args:
            target_labels: attribute -> LongTensor [F], the class to become; `UNDECIDED` equals none.
            reference_labels: attribute -> LongTensor [F] predicted for the same face in the reference image; -1: none
                there.
            certainty: attribute -> [F], probability of that prediction.
        """
        kept = [
            (labels == reference_labels[name]) & (certainty[name] >= self.confidence)
            for name, labels in target_labels.items()
        ]
        return torch.stack(kept).all(dim=0)

    def __call__(self, embeddings: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Return the sum (not mean) of 1 - cos of normalised embeddings [F, D], by `weights` [F], times the weight."""
        return self.weight * (weights * (1 - (embeddings * targets).sum(dim=-1))).sum()
