"""What callbacks have in common that write the model at the end of training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import lightning as L


class WritesModel(L.Callback, ABC):
    """A callback that writes what training has led to, for other programs to load."""

    @abstractmethod
    def model_folders(self, trainer: L.Trainer) -> list[Path]:
        """Return the folders that training writes, whether they exist or not."""

    def written(self, trainer: L.Trainer) -> list[Path]:
        """Return those of the folders that hold something already."""
        return [folder for folder in self.model_folders(trainer) if folder.is_dir() and any(folder.iterdir())]
