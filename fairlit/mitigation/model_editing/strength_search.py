"""The search for strengths of edits with which perceived shares come close to a target."""

from __future__ import annotations

import torch
from torch import Tensor

from fairlit.functional.model_editing.concept_editing import debiasing_step


class StrengthSearch:
    """Moves strengths by what shares lack, by half as much from each time on that they went too far.

    Measure the shares with `strengths`, `observe` them, and go on until `settled`; then use `best`.

    Args:
        concepts: number C of concepts.
        desired: shares of K classes to come close to, float64 [K].
        step_size: change of a strength for a share that is wrong by 1.
        tolerance: distance of a share from its target that is near enough.
    """

    def __init__(self, concepts: int, desired: Tensor, *, step_size: float, tolerance: float) -> None:
        self.desired, self.step_size, self.tolerance = desired, step_size, tolerance
        self.strengths = torch.zeros(concepts, len(desired), dtype=torch.float64)
        self.best, self.least_distance = self.strengths, float("inf")
        self.distance = float("inf")
        self.settled = False
        self._factors, self._last_step = torch.ones_like(self.strengths), torch.zeros_like(self.strengths)

    def observe(self, shares: Tensor) -> None:
        """Take in the shares measured with `strengths`, and move these on.

        Args:
            shares: float64 [C, K]; NaN for a concept without faces.
        """
        self.distance = share_distance(shares, self.desired)
        if self.distance < self.least_distance:
            self.best, self.least_distance = self.strengths, self.distance
        step = debiasing_step(shares, self.desired, self.step_size, tolerance=self.tolerance)
        self.settled = not bool(step.any())
        if self.settled:
            return
        self._factors = torch.where(step * self._last_step < 0, self._factors / 2, self._factors)  # it went too far
        self._last_step = torch.where(step == 0, self._last_step, step)
        self.strengths = self.strengths + self._factors * step


def share_distance(shares: Tensor, desired: Tensor) -> float:
    """Return the mean over concepts of the largest distance of a share from its target; 1 without faces.

    Args:
        shares: measured shares [C, K]; NaN for a concept without faces.
        desired: shares to come close to [K].
    """
    return float(torch.nan_to_num((shares - desired).abs(), nan=1.0).amax(dim=-1).mean())
