"""Files and folders that are either whole or not there: write beside, flush to disk, rename."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fairlit.errors import ConfigurationError, FairlitError
from fairlit.io.leftovers import clear_partial_files, clear_partial_folders, partial_file, partial_folder


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path in the folder of `path`; what is written there becomes `path` when the block ends.

    A reader sees the old file or the new one, never a half of either, whenever the writer dies. If the block
    raises, or writes nothing, the old file stays as it was and the temporary file is removed. (A killed process
    may leave its hidden `.NAME.WRITER.partial.SUFFIX` behind; nothing reads it, and the next one removes it.)

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
    clear_partial_files(target.parent)
    temporary = partial_file(target)
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

    If the block raises, nothing is left behind. (A killed process may leave its hidden `.NAME.WRITER.partial`; the next
    one that makes this folder removes it.)

    Args:
        path: the folder to make; it must not exist, or be empty. Its parents are made if need be.

    Raises:
        ConfigurationError: `path` has become a file or a folder with something in it; what is there stays.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "run"
        >>> with atomic_folder(target) as temporary:
        ...     _ = (temporary / "summary.txt").write_text("whole")
        >>> [entry.name for entry in target.iterdir()]
        ['summary.txt']
    """
    target = Path(path)
    with _folder_beside(target) as temporary:
        yield temporary
        _flush_all(temporary)
        _move_folder(temporary, target)
    _flush(target.parent)


@contextmanager
def atomic_files(folder: str | os.PathLike[str], names: Sequence[str]) -> Iterator[Path]:
    """Gives a temporary folder beside `folder`; files written into it take their places when the block ends.

    If the block raises, all files in `folder` stay as they were, so the block is the place to check the new ones. Where
    the folder is new, all files appear at once, else one after another.

    Args:
        folder: the folder of the files. It and its parents are made if need be.
        names: names of the files in the order in which they are moved. Files of other names are dropped, and what
            `folder` holds of these names and the block does not write is removed.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp())
        >>> _ = (target / "summary.txt").write_text("old")
        >>> with atomic_files(target, ["summary.txt"]) as temporary:
        ...     _ = (temporary / "summary.txt").write_text("new")
        >>> (target / "summary.txt").read_text()
        'new'
    """
    target = Path(folder).resolve()  # a link may lead to another disk, where files cannot be moved to
    with _folder_beside(target) as temporary:
        yield temporary
        _flush_all(temporary)
        if target.exists():
            for name in names:
                if (temporary / name).exists():
                    (temporary / name).replace(target / name)
                else:
                    (target / name).unlink(missing_ok=True)
            _flush(target)
        else:
            for unnamed in set(temporary.iterdir()) - {temporary / name for name in names}:
                unnamed.unlink()
            _move_folder(temporary, target)
    _flush(target.parent)


@contextmanager
def _folder_beside(target: Path) -> Iterator[Path]:
    """Gives a hidden folder that is gone when the block ends; fairlit's messages name the one that it stands for."""
    target.parent.mkdir(parents=True, exist_ok=True)
    clear_partial_folders(target)
    temporary = partial_folder(target)
    temporary.mkdir()
    try:
        yield temporary
    except FairlitError as error:
        told = str(error).replace(str(temporary), str(target))
        error.args = (told if told == str(error) else f"{told}; {target} is as it was before",)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _move_folder(source: Path, target: Path) -> None:
    try:
        source.replace(target)  # over an empty folder too, and refused by the system over any other
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        kind = "folder that holds something" if target.is_dir() else "file"
        raise ConfigurationError(
            f"{target}: got a {kind}, which another process has made meanwhile; expected a new or empty folder; "
            "look whether it is what you want, or give another folder"
        ) from error


def atomic_write_text(path: str | os.PathLike[str], text: str) -> Path:
    r"""Writes `text` in UTF-8 to `path` atomically and returns the path.

    What UTF-8 cannot write, as names of files that are not UTF-8 have it, is spelt ``\udce9``, which JSON reads back.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    return Path(path)


def _flush_all(folder: Path) -> None:
    for entry in (*folder.rglob("*"), folder):
        _flush(entry)


def _flush(path: Path) -> None:
    """Has the operating system write a file or folder entry to disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
