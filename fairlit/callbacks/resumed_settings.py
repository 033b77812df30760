"""A run that goes on trains with the settings of its config, not with those that its checkpoint has kept."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import lightning as L
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

log = logging.getLogger(__name__)

_WORDS = {"lr": "learning rate", "initial_lr": "initial learning rate"}


class ResumedSettings(L.Callback):
    """Gives a resumed optimiser and its schedule the settings of the config, and says what has changed.

    Lightning restores learning rate, weight decay and the like with the optimiser's state. The schedule goes on from
    the step that the checkpoint has reached. With equal settings nothing changes, not a bit.
    """

    def __init__(self) -> None:
        self._optimizer_before: str | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the class of the optimiser."""
        return {"optimizer": self._optimizer_before}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember with which optimiser the checkpoint was made."""
        self._optimizer_before = state_dict["optimizer"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compare the restored settings with the configured ones, and take the latter."""
        if len(trainer.optimizers) != 1:
            return
        [optimizer], before = trainer.optimizers, self._optimizer_before
        self._optimizer_before = name = type(optimizer).__qualname__
        configured, schedule = _parts(pl_module.configure_optimizers())
        if trainer.ckpt_path is None or configured is None:
            return
        said = []
        if before not in (None, name):
            optimizer.state.clear()
            said.append(f"{name} starts with an empty state, as the checkpoint's is {before}'s")
        schedules = [config.scheduler for config in trainer.lr_scheduler_configs]
        restored = schedules[0] if schedules and isinstance(schedules[0], LRScheduler) else None
        if schedule is not None and restored is not None:
            steps = restored.last_epoch or trainer.global_step
            if (reason := _advance(schedule, steps)) is None:
                restored.load_state_dict(schedule.state_dict())
            else:
                log.warning("learning rate and schedule of the checkpoint are kept: %s", reason)
                configured = _with_rates_of(configured, optimizer)
        said += take_settings(optimizer, configured)
        if said and trainer.is_global_zero:
            log.info("resumed with the config's settings in the place of the checkpoint's: %s", "; ".join(said))


def take_settings(restored: Optimizer, configured: Optimizer) -> list[str]:
    """Give a restored optimiser the settings of a new one; return what has changed, in words.

    Args:
        restored: optimiser with the settings of a checkpoint.
        configured: optimiser with the settings of the config, its schedule advanced as far.
    """
    said: list[str] = []
    for group, wanted in zip(restored.param_groups, configured.param_groups, strict=True):
        both = "initial_lr" in group and "initial_lr" in wanted
        named = dict(group)
        if both and group["initial_lr"] != wanted["initial_lr"]:
            del named["lr"]  # follows from the initial one
        for key, value in wanted.items():
            if key == "params" or (key in group and group[key] == value):
                continue
            if key in named:
                said.append(f"{_WORDS.get(key, key)} {value} (was {group[key]})")
            group[key] = value
    return list(dict.fromkeys(said))


def _parts(configured: OptimizerLRScheduler) -> tuple[Optimizer | None, LRScheduler | None]:
    """The one optimiser and its schedule, in the two forms that fairlit's modules return."""
    if isinstance(configured, Optimizer):
        return configured, None
    if not isinstance(configured, dict):
        return None, None
    schedule = configured.get("lr_scheduler")
    found = schedule.get("scheduler") if isinstance(schedule, dict) else schedule
    return configured["optimizer"], found if isinstance(found, LRScheduler) else None


def _advance(schedule: LRScheduler, steps: int) -> str | None:
    """Take steps of a schedule; return why that cannot be, or None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no step of the optimiser comes before
        try:
            for _ in range(steps):
                schedule.step()
        except Exception as error:  # whatever a schedule of somebody's own may raise
            return f"{type(schedule).__name__} cannot be advanced to step {steps} ({error})"
    return None


def _with_rates_of(configured: Optimizer, restored: Optimizer) -> Optimizer:
    for group, kept in zip(configured.param_groups, restored.param_groups, strict=True):
        group.update({key: kept[key] for key in _WORDS if key in kept})
    return configured
