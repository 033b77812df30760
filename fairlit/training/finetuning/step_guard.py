"""Steps whose gradient is not finite: skipped by all ranks together, counted, and the end of a run that has only those.

A skipped step counts as a step: the learning rate schedule and `max_steps` go on. Parameters, the optimiser's state and
the moving average stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import lightning as L
import torch
from torch import Tensor, nn

from fairlit.errors import TrainingError
from fairlit.training.distributed import ranks
from fairlit.training.run_checkpoints import is_trial, save_last_checkpoint


class StepGuard:
    """Lets a step pass or empties its gradients.

    With `16-mixed` a GradScaler multiplies the loss by a large scale and halves that where gradients overflow. Such a
    step is skipped too, but it is part of the scaler's search and no failure. It is one where a loss itself was not
    finite, on which the scale has no influence (the scale is then kept), or where the scale is down to 1.

    Args:
        limit: failures in a row at which the run is to stop.

    Attributes:
        skipped: failed steps so far; searches of the scaler not among them.
        in_a_row: failed steps since the last good one.
        applied: whether the latest step was good.
        keeps_scale: whether the scaler shall forget the latest step.
    """

    def __init__(self, limit: int = 10) -> None:
        self.limit = limit
        self.skipped = self.in_a_row = 0
        self.applied, self.keeps_scale = True, False
        self._bad_loss = False

    def note_loss(self, loss: Tensor) -> None:
        """Take note of the loss of one of a step's batches, before any scaling."""
        self._bad_loss |= not bool(loss.isfinite())

    def examine(self, parameters: Sequence[nn.Parameter], scaler: torch.amp.GradScaler | None = None) -> Tensor:
        """Judge the gradients of a step, summed up and unscaled, and remove them if they will not do.

        Optimisers leave a parameter without gradient alone. Every rank calls this.

        Returns:
            The norm of all gradients together, a scalar.
        """
        norm = torch.nn.utils.get_total_norm([value.grad for value in parameters if value.grad is not None])
        bad, bad_loss = ranks.any_rank([not bool(norm.isfinite()), self._bad_loss], parameters[0].device)
        searching = bad and scaler is not None and not bad_loss and scaler.get_scale() > 1
        self._bad_loss = False
        self.applied = not bad
        self.keeps_scale = bad and bad_loss
        if bad:
            for parameter in parameters:
                parameter.grad = None
        if bad and not searching:
            self.skipped += 1
            self.in_a_row += 1
        elif not bad:
            self.in_a_row = 0
        return norm

    def stop_if_hopeless(self, trainer: L.Trainer) -> None:
        """Save a checkpoint and stop the run after too many failures in a row; every rank calls this.

        Its weights are those of the last good step; a run that goes on from it takes the prompts that come next, and
        counts anew.

        Raises:
            TrainingError: on all ranks.
        """
        if self.in_a_row < self.limit or is_trial(trainer):
            return
        self.in_a_row = 0
        path = save_last_checkpoint(trainer)
        raise TrainingError(
            f"stopped at step {trainer.global_step}: the gradients of {self.limit} steps in a row were not finite. "
            f"The weights of the last good step are in {path}: go on from there with --ckpt_path and "
            "--trainer.precision bf16-mixed or 32-true, or a lower learning rate"
        )

    def state_dict(self) -> dict[str, int]:
        """Return the counts."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Take over the counts of a checkpoint; nothing counts as zero, as in checkpoints of earlier versions."""
        self.skipped, self.in_a_row = state.get("skipped", 0), state.get("in_a_row", 0)
