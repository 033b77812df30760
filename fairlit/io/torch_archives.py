"""Files that `torch.save` wrote, read as data and with their checksums."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile

import torch

from fairlit.errors import CheckpointError

# What zipfile and torch.load raise on files that are cut short, damaged, or hold code; NotImplementedError is a
# RuntimeError.
_UNREADABLE = (OSError, RuntimeError, EOFError, UnpicklingError, BadZipFile, ValueError, LookupError, TypeError)


def read_archive(path: str | Path, map_location: Any = "cpu") -> object:
    """Return what a file of `torch.save` holds; nothing in it is executed.

    Args:
        path: path of the file.
        map_location: as for `torch.load`.

    Raises:
        CheckpointError: the file is missing or damaged, or holds something other than data. The message is the reason
            alone, for the caller to name the file in its own words.
    """
    try:
        if is_zipfile(path) and (entry := _damaged_entry(path)) is not None:
            raise CheckpointError(f"wrong checksum of {entry}")
        return torch.load(path, map_location=map_location, weights_only=True)
    except _UNREADABLE as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError((str(error).strip().splitlines() or [type(error).__name__])[0]) from error


def _damaged_entry(path: str | Path) -> str | None:
    """Name of the first entry whose CRC-32 is wrong, read piece by piece; torch 2.15 itself compares none."""
    with ZipFile(path) as archive:
        if not any(entry.CRC for entry in archive.infolist()):  # as `torch.serialization.set_crc32_options(False)` does
            return None
        return archive.testzip()
