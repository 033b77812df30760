from __future__ import annotations

from pathlib import Path

import lightning
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from fairlit.callbacks.progress import BiasProgressBar
from fairlit.errors import ConfigurationError

VALUES = [1.0, 0.0, 0.5, 0.25]


class _Model(lightning.LightningModule):
    """Logs the values as a bias, and as something else."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        [value] = batch
        self.log("bias/gender", value.mean(), prog_bar=True)
        self.log("other", value.mean(), prog_bar=True)
        return self.weight * 1.0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class _Reader(BiasProgressBar):
    """Keeps what stands on the bar after each step."""

    def __init__(self, smoothing: float) -> None:
        super().__init__(smoothing)
        self.shown: list[dict[str, float]] = []

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *rest: object
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, *rest)  # type: ignore[arg-type]
        self.shown.append({name: float(value) for name, value in self.get_metrics(trainer, pl_module).items()})


def _fit(bar: BiasProgressBar, values: list[float], folder: Path, **length: int) -> None:
    """Trains on one value a batch."""
    trainer = lightning.Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        logger=lightning.pytorch.loggers.CSVLogger(folder),
        enable_checkpointing=False,
        enable_model_summary=False,
        callbacks=[bar],
        **length,  # type: ignore[arg-type]
    )
    trainer.fit(_Model(), DataLoader(TensorDataset(torch.tensor(values)), batch_size=1))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("smoothing", [0.0, 0.5, 0.9])
def test_bias_is_a_running_mean_and_the_rest_is_as_it_is(smoothing: float, tmp_path: Path) -> None:
    bar = _Reader(smoothing)
    _fit(bar, VALUES, tmp_path, max_epochs=1)
    mean, expected = VALUES[0], []
    for value in VALUES:
        mean = smoothing * mean + (1 - smoothing) * value
        expected.append({"bias/gender": pytest.approx(mean), "other": value})
    assert bar.shown == expected  # and no v_num


@pytest.mark.filterwarnings("ignore")
def test_bar_is_as_long_as_the_run_where_a_step_takes_several_batches(tmp_path: Path) -> None:
    bar = BiasProgressBar()
    _fit(bar, [0.0] * 10, tmp_path, max_epochs=-1, max_steps=3, accumulate_grad_batches=2)
    assert (bar.train_progress_bar.n, bar.train_progress_bar.total) == (6, 6)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_smoothing_out_of_range(smoothing: float) -> None:
    with pytest.raises(ConfigurationError, match=f"smoothing: got {smoothing}; give 0 <= smoothing < 1"):
        BiasProgressBar(smoothing)
