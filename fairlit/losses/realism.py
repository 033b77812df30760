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
        confidence: the original face is what a face is drawn towards where nothing must change and the classifier is
            at least this sure of every attribute of the original; elsewhere it is the nearest real face.
    """

    weight: float = 1.0
    confidence: float = 0.8

    def __post_init__(self) -> None:
        with Problems("realism") as problems:
            problems.at_least("weight", self.weight, 0)
            if not 0 <= self.confidence <= 1:
                problems.add(f"confidence: got {self.confidence}; a confidence lies between 0 and 1")

    def keeps_original(
        self, labels: Mapping[str, Tensor], originals: Mapping[str, Tensor], certainty: Mapping[str, Tensor]
    ) -> Tensor:
        """Bool [F]: which faces are drawn towards the same face in the original image.

        Args:
            labels: attribute -> LongTensor [F], the class to become.
            originals: attribute -> LongTensor [F] predicted for the same face in the original, -1: none there.
            certainty: attribute -> [F], probability of that prediction.
        """
        kept = [(labels[name] == originals[name]) & (certainty[name] >= self.confidence) for name in labels]
        return torch.stack(kept).all(dim=0)

    def __call__(self, embeddings: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Summed (not averaged) 1 - cos of normalised embeddings [F, D], by `weights` [F], times the weight."""
        return self.weight * (weights * (1 - (embeddings * targets).sum(dim=-1))).sum()
