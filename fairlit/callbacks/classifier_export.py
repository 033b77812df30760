"""What ``fairlit fit`` of an attribute classifier gives: a folder that a finetuning config can name."""

from __future__ import annotations

from pathlib import Path

import lightning as L

from fairlit.callbacks.model_files import WritesModel
from fairlit.callbacks.required_module import required_module
from fairlit.data.faces.datamodule import FaceDataModule
from fairlit.faces.calibration import describe_validation
from fairlit.training import AttributeClassifierTrainer
from fairlit.training.run_checkpoints import is_trial


class ClassifierExport(WritesModel):
    """Calibrates the classifier on validation data when its training ends, and writes what `AttributeClassifier` loads.

    Temperatures, calibration errors and confusion matrices are saved with the weights. The main process looks at the
    whole validation split, so that the result does not depend on the number of processes. Nothing is written by a
    `fast_dev_run`.

    Args:
        folder: folder to write; null: ``classifier`` in the trainer's default root.
        calibrate: whether temperatures are fitted on the validation data; otherwise all are 1.
    """

    def __init__(self, folder: str | None = None, calibrate: bool = True) -> None:
        self.folder, self.calibrate = folder, calibrate

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the last state of the classifier and says where, and how good it is."""
        module = required_module(self, pl_module, AttributeClassifierTrainer)
        if not trainer.is_global_zero or is_trial(trainer):
            return
        data = getattr(trainer, "datamodule", None)
        if self.calibrate and isinstance(data, FaceDataModule):
            module.calibrate(data.val_dataloader())
        [folder] = self.model_folders(trainer)
        module.export(folder)
        config = module.classifier.config
        for line in describe_validation(config.temperature, config.validation):
            print(line)
        print(f"classifier  {folder}")

    def model_folders(self, trainer: L.Trainer) -> list[Path]:
        """Return the folder of the classifier."""
        return [Path(self.folder or Path(trainer.default_root_dir) / "classifier")]
