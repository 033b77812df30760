"""What ``fairlit fit`` of an attribute classifier gives: a folder that a finetuning config can name."""

from __future__ import annotations

from pathlib import Path

import lightning as L

from fairlit.errors import ConfigurationError
from fairlit.training import AttributeClassifierTrainer


class ClassifierExport(L.Callback):
    """Writes the classifier as `AttributeClassifier.load` reads it when its training ends.

    Args:
        folder: where to; null: ``classifier`` in the trainer's default root.
    """

    def __init__(self, folder: str | None = None) -> None:
        self.folder = folder

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the last state of the classifier and says where."""
        if not isinstance(pl_module, AttributeClassifierTrainer):
            raise ConfigurationError(
                f"ClassifierExport: works with AttributeClassifierTrainer, got {type(pl_module).__name__}"
            )
        if trainer.is_global_zero:
            folder = Path(self.folder or Path(trainer.default_root_dir) / "classifier")
            pl_module.export(folder)
            print(f"classifier  {folder}")
