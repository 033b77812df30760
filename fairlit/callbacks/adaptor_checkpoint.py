"""Saves the adaptor as stock diffusers opens it, proves that its files give back the trained model, describes it."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn

from fairlit.adaptors import AdaptorMetadata, verify_saved
from fairlit.adaptors.model_card import CARD_FILE, adaptor_card
from fairlit.callbacks.face_evaluation import FaceEvaluation
from fairlit.callbacks.model_files import WritesModel
from fairlit.callbacks.orderly_stop import RunStopped
from fairlit.callbacks.required_module import required_module
from fairlit.errors import ConfigurationError
from fairlit.io.atomic import atomic_files
from fairlit.results.curves import CURVES_FILE
from fairlit.training import FairFinetuner
from fairlit.training.finetuning.variants import AVERAGE, FINETUNED
from fairlit.training.run_checkpoints import is_trial

_LOG = logging.getLogger(__name__)
Mode = Literal["min", "max"]


class AdaptorCheckpoint(WritesModel):
    """Writes ``adaptor/`` (the finetuned model) and ``adaptor_ema/`` (its moving average) below a folder.

    Before files take the place of those of the save before, they are loaded into a fresh pipeline and compared on a
    fixed seed; a difference is an error, and what was there stays. A `fast_dev_run` writes nothing. Each folder gets a
    model card (README.md), which says that nothing was measured; a test that measures the saved adaptor puts its
    figures there.

    Args:
        folder: folder in which the adaptors' folders are made; null: the trainer's default root.
        every_n_steps: number of optimiser steps between two saves; null: one save, at the end of training.
        verify: whether what was saved is reloaded and compared.
        monitor: figure of validation, such as ``val/ema/tv/gender``, that decides which adaptor is kept: it is saved
            after each validation that is better than all before, and not at the end. Give a `ModelCheckpoint` the same
            `monitor` and `mode`, and `fairlit test` its checkpoint. null: the last one is kept.
        mode: ``min`` where smaller values of the monitored figure are better, ``max`` where larger ones are.

    Raises:
        ConfigurationError: a number or word out of range, or both `every_n_steps` and `monitor`.
    """

    def __init__(
        self,
        folder: str | None = None,
        every_n_steps: int | None = None,
        verify: bool = True,
        monitor: str | None = None,
        mode: Mode = "min",
    ) -> None:
        if every_n_steps is not None and every_n_steps < 1:
            raise ConfigurationError(f"every_n_steps: got {every_n_steps}; give at least 1, or null for the end only")
        if every_n_steps is not None and monitor is not None:
            raise ConfigurationError(
                f"every_n_steps, monitor: got {every_n_steps} and {monitor}; expected one of them; leave out the other"
            )
        if mode not in get_args(Mode):
            raise ConfigurationError(
                f"mode: got {mode!r}; expected one of {', '.join(get_args(Mode))}; give one of them"
            )
        self.folder, self.every_n_steps, self.verify = folder, every_n_steps, verify
        self.monitor, self.mode = monitor, mode
        self._saved_at: int | None = None
        self._best = math.inf  # of what is monitored, negated where more is better

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save every n optimiser steps."""
        step = trainer.global_step
        if self.every_n_steps and step and step % self.every_n_steps == 0 and step != self._saved_at:
            self._save(trainer, pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save an adaptor that is better than all before, where a figure of validation decides."""
        if self.monitor is None or trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        if self.monitor not in trainer.callback_metrics:
            known = sorted(name for name in trainer.callback_metrics if name.startswith("val/"))
            raise ConfigurationError(
                f"AdaptorCheckpoint.monitor: got {self.monitor}; expected a figure of validation: "
                f"{', '.join(known) or 'none is logged'}; give one of them"
            )
        found = float(trainer.callback_metrics[self.monitor])
        if self.mode == "max":
            found = -found
        if found < self._best:
            self._best = found
            self._save(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save what training has led to, unless a validation has decided otherwise."""
        if trainer.global_step != self._saved_at and self._best == math.inf:
            if self.monitor is not None and trainer.is_global_zero:
                _LOG.warning(
                    "AdaptorCheckpoint.monitor: no validation gave a number for %s, so the last adaptor is kept; "
                    "validate during training (trainer.val_check_interval)",
                    self.monitor,
                )
            self._save(trainer, pl_module)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the adaptor of a run that had ended before, where its process died before it was saved."""
        folders = [self._folder(trainer, variant) for variant in self._variants(pl_module)]
        if trainer.global_step and not set(folders) <= set(self.written(trainer)):
            self._save(trainer, pl_module)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Save what training has led to when it was told to stop."""
        stopped = isinstance(exception, RunStopped) and exception.between_steps and self._best == math.inf
        if stopped and trainer.state.fn == TrainerFn.FITTING and trainer.global_step not in (0, self._saved_at):
            self._save(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Return the best value of what is monitored."""
        return {"monitor": self.monitor, "mode": self.mode, "best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from it, unless another figure is monitored since."""
        if (state_dict["monitor"], state_dict["mode"]) == (self.monitor, self.mode):
            self._best = float(state_dict["best"])

    def model_folders(self, trainer: L.Trainer) -> list[Path]:
        """Return the folders of the adaptor and of its average."""
        return [self._folder(trainer, variant) for variant in (FINETUNED, AVERAGE)]

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the figures of the test into the card of the adaptor that was measured."""
        if trainer.is_global_zero and isinstance(pl_module, FairFinetuner) and not is_trial(trainer):
            for variant in pl_module.variants[1:]:
                folder = self._folder(trainer, variant)
                if (folder / pl_module.adaptor.file_name).is_file():
                    print(f"card     {self._describe(trainer, pl_module, folder)}")

    @torch.no_grad()
    def _save(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if is_trial(trainer):
            return
        self._saved_at = trainer.global_step
        variants = self._variants(module)
        if not trainer.is_global_zero or not isinstance(module, FairFinetuner):
            return
        for variant in variants:
            folder = self._folder(trainer, variant)
            # The card first: were the process killed in between, no figures would stand beside another adaptor's files.
            names = (CARD_FILE, CURVES_FILE, module.adaptor.file_name)
            with module.as_variant(variant), atomic_files(folder, names) as fresh:
                module.adaptor.save(fresh, module.backbone, self._metadata(trainer, module))
                if self.verify:
                    verify_saved(module.adaptor, fresh, module.backbone, open_base=module.frozen.load_backbone)
                self._describe(trainer, module, fresh)

    def _variants(self, module: L.LightningModule) -> Sequence[str]:
        return required_module(self, module, FairFinetuner).variants[1:]

    def _folder(self, trainer: L.Trainer, variant: str) -> Path:
        root = Path(self.folder or trainer.default_root_dir)
        return root / ("adaptor" if variant == FINETUNED else f"adaptor_{variant}")

    def _describe(self, trainer: L.Trainer, module: FairFinetuner, folder: Path) -> Path:
        """Write the card of a saved adaptor, with the figures of the last test if they are of this very one."""
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        summaries = (item.summary_path(trainer) for item in callbacks if isinstance(item, FaceEvaluation))
        return adaptor_card(folder, next(summaries, None), asdict(module.sampling))

    def _metadata(self, trainer: L.Trainer, module: FairFinetuner) -> AdaptorMetadata:
        target = trainer.datamodule.target  # type: ignore[attr-defined]
        digest = hashlib.sha256(json.dumps(module.describe(), sort_keys=True).encode()).hexdigest()[:12]
        return AdaptorMetadata(
            base_model=module.models.backbone,
            attributes=target.classes,
            targets=target.to_dict(),
            config_hash=digest,
        )
