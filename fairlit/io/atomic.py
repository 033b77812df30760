"""Files and folders that are either whole or not there: write beside, flush to disk, rename."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path in the folder of `path`; what is written there becomes `path` when the block ends.

    A reader sees the old file or the new one, never a half of either, whenever the writer dies. If the block
    raises, or writes nothing, the old file stays as it was and the temporary file is removed. (A killed process
    may leave its hidden `.NAME.RANDOM.partial.SUFFIX` behind; nothing reads it.)

    Args:
        path: the file to write. Its folder is made if need be. The temporary file keeps its suffix, because some
            writers choose their format by it.

    Raises:
        FileNotFoundError: the block ended without writing the temporary file.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "summary.txt"
        >>> with atomic_path(target) as temporary:
        ...     _ = temporary.write_text("whole")
        >>> target.read_text()
        'whole'
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(6)}.partial{target.suffix}")
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    _flush(target.parent)  # the rename itself must survive a power cut too


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary folder beside `path`; what is written into it becomes the folder `path` when the block ends.

    If the block raises, nothing is left behind. (A killed process may leave the hidden `.NAME.RANDOM.partial`.)

    Args:
        path: the folder to make; it must not exist, or be empty. Its parents are made if need be.

    Raises:
        OSError: `path` exists and is not an empty folder.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "run"
        >>> with atomic_folder(target) as temporary:
        ...     _ = (temporary / "summary.txt").write_text("whole")
        >>> [entry.name for entry in target.iterdir()]
        ['summary.txt']
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.partial")
    temporary.mkdir()
    try:
        yield temporary
        for entry in (*temporary.rglob("*"), temporary):
            _flush(entry)
        temporary.replace(target)  # over an empty folder too, and refused by the system over any other
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _flush(target.parent)


def atomic_write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Writes UTF-8 `text` to `path` atomically and returns the path."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def _flush(path: Path) -> None:
    """Has the operating system write a file or folder entry to disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
