"""A progress bar on which one can watch the bias fall, or the distance to a target that is not uniform."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import TQDMProgressBar
from typing_extensions import override

from fairlit.errors import ConfigurationError


class BiasProgressBar(TQDMProgressBar):
    """Lightning's progress bar; the bias of a step's few images jumps about, so it is shown as a running mean.

    So is the distance to the target, which stands in its place where the target is not uniform.

    Args:
        smoothing: weight of the past in the running mean, in [0, 1).
        refresh_rate: steps between two updates of the bar.

    Raises:
        ConfigurationError: the smoothing is out of range.
    """

    def __init__(self, smoothing: float = 0.9, refresh_rate: int = 1) -> None:
        if not 0 <= smoothing < 1:
            raise ConfigurationError(f"smoothing: got {smoothing}; give 0 <= smoothing < 1, 0 shows each step as it is")
        super().__init__(refresh_rate=refresh_rate)
        self.smoothing = smoothing
        self._means: dict[str, float] = {}

    @property
    @override
    def total_train_batches(self) -> int | float:
        """Length of the bar. Lightning takes steps of the optimiser for batches, of which a step may need several."""
        trainer = self.trainer
        if trainer.max_epochs == -1 and trainer.max_steps > 0:
            return min(trainer.num_training_batches, trainer.max_steps * trainer.accumulate_grad_batches)
        return super().total_train_batches

    @override
    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        for name, value in trainer.progress_bar_metrics.items():
            if name.startswith(("bias/", "tv/")):
                before = self._means.get(name, float(value))
                self._means[name] = self.smoothing * before + (1 - self.smoothing) * float(value)
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    @override
    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return {name: self._means.get(name, value) for name, value in metrics.items()}
