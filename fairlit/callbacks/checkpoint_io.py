"""Training checkpoints that are whole or not there, and that can hold nothing but data."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from typing_extensions import override

from fairlit.errors import CheckpointError, ConfigurationError
from fairlit.io.atomic import atomic_path
from fairlit.io.torch_archives import read_archive


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it; reads tensors and plain data only.

    Attributes:
        loaded: whether a checkpoint has been read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loaded = False

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        with atomic_path(path) as temporary:
            try:
                torch.save(checkpoint, temporary)
            except RuntimeError as error:  # what torch's writer says of a full disk names no file
                if "PytorchStreamWriter failed writing" not in str(error) and "unexpected pos" not in str(error):
                    raise
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error

    @override
    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        try:
            content = read_archive(path, map_location or "cpu")
        except CheckpointError as error:
            raise CheckpointError(
                f"ckpt_path: {path} cannot be read ({error}); it is damaged or no training checkpoint of fairlit; "
                "give an earlier one"
            ) from error
        if not isinstance(content, dict) or not {"state_dict", "loops"} <= set(content):  # else it begins at step 0
            raise CheckpointError(f"ckpt_path: {path} is no training checkpoint; give one that `fairlit fit` wrote")
        self.loaded = True
        return content


def check_checkpoint(path: str) -> Mapping[str, Any]:
    """Read a training checkpoint, to see early that it is there and whole.

    Raises:
        ConfigurationError: there is no such file.
        CheckpointError: it cannot be read, or is something else.
    """
    if not Path(path).is_file():
        raise ConfigurationError(
            f"ckpt_path: {path!r} does not exist; give a .ckpt file that `fairlit fit` has written"
        )
    return AtomicCheckpointIO().load_checkpoint(path)
