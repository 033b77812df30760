"""What the file system says of a path, without opening it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

FileMark = tuple[str, int, int]
"""Path, size and time of the last change of a file."""


def why_not_regular(path: Path) -> str | None:
    """Return why a path is not a file to read; None where it is one, or nothing is there."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "a link that leads nowhere" if path.is_symlink() else None
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    return None if stat.S_ISREG(mode) else "no regular file"  # a pipe would be waited for, for ever


def file_mark(path: Path) -> FileMark:
    """Return what tells a file from another one, or from itself after a change."""
    try:
        status = path.stat()
    except OSError:
        return str(path), 0, 0
    return str(path), status.st_size, status.st_mtime_ns


def regular_files(folder: Path) -> set[str]:
    """Return the names of the regular files in a folder, links to files included; none where there is no folder.

    Lists the folder once and looks at links alone, which is quick for very many files.
    """
    try:
        with os.scandir(folder) as entries:
            return {
                entry.name for entry in entries if entry.is_file(follow_symlinks=False) or Path(entry.path).is_file()
            }
    except (OSError, ValueError):  # the latter of NUL in the name
        return set()
