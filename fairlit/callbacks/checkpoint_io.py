"""Training checkpoints that are whole or not there, and that can hold nothing but data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from typing_extensions import override

from fairlit.atomic import atomic_path
from fairlit.errors import CheckpointError, ConfigurationError


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it; reads tensors and plain data only."""

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        with atomic_path(path) as temporary:
            torch.save(checkpoint, temporary)

    @override
    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        try:
            return dict(torch.load(path, map_location=map_location or "cpu", weights_only=True))
        except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
            raise CheckpointError(
                f"ckpt_path: {path} cannot be read ({error}); it is damaged or no training checkpoint of fairlit"
            ) from error


def check_checkpoint(path: str) -> Mapping[str, Any]:
    """Reads a training checkpoint, to see early that it is there and whole.

    Raises:
        ConfigurationError: there is no such file.
        CheckpointError: it cannot be read.
    """
    if not Path(path).is_file():
        raise ConfigurationError(
            f"ckpt_path: {path!r} does not exist; give a .ckpt file that `fairlit fit` has written"
        )
    return AtomicCheckpointIO().load_checkpoint(path)
