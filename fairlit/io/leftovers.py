"""Hidden partial files and folders: named after the process that writes them, and removed once it is gone."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_LOG = logging.getLogger(__name__)
_DAY = 86_400.0  # seconds
_LONGEST = 150  # bytes of a name; file systems take 255, with what is put around it
_NAME = re.compile(
    r"\.(?P<stem>.+)\.(?:(?P<host>[0-9a-f]{8})-(?P<process>\d{1,9})-)?[0-9a-f]{12}\.partial(?:\.[^.]*)?", re.DOTALL
)
_cleared: set[Path] = set()


def partial_file(target: Path) -> Path:
    """Return the hidden path to write a file to before it gets its name; it keeps the suffix."""
    return target.with_name(f".{_stem(target.stem)}.{_writer()}.partial{target.suffix}")


def partial_folder(target: Path) -> Path:
    """Return the hidden path to write a folder to before it gets its name."""
    return target.with_name(f".{_stem(target.name)}.{_writer()}.partial")


def clear_partial_files(folder: Path) -> None:
    """Remove the partial files in a folder whose writers are gone, and log them; each process looks once."""
    if folder in _cleared:
        return
    _cleared.add(folder)
    for entry, writer in _partial(folder):
        if entry.is_file(follow_symlinks=False) and _is_abandoned(entry, writer):
            with suppress(OSError):  # another was faster, or it is somebody else's
                Path(entry.path).unlink()
                _LOG.info(f"removed  {entry.path}: left by a process that was stopped")


def clear_partial_folders(target: Path) -> None:
    """Remove the partial folders of a folder whose writers are gone; log them, and those that are left alone."""
    for entry, writer in _partial(target.parent):
        if writer["stem"] != _stem(target.name) or not entry.is_dir(follow_symlinks=False):
            continue
        if not _is_abandoned(entry, writer):
            _LOG.info(f"found    {entry.path}: another process may be writing it, so it stays for a day")
            continue
        shutil.rmtree(entry.path, ignore_errors=True)
        gone = not os.path.lexists(entry.path)
        _LOG.info(
            f"removed  {entry.path}: left by a process that was stopped"
            if gone
            else f"found    {entry.path}: left by a process that was stopped, and cannot be removed; remove it by hand"
        )


def _partial(folder: Path) -> Iterator[tuple[os.DirEntry[str], re.Match[str]]]:
    with os.scandir(folder) as entries:
        found = [(entry, match) for entry in entries if (match := _NAME.fullmatch(entry.name))]
    yield from found


def _is_abandoned(entry: os.DirEntry[str], writer: re.Match[str]) -> bool:
    try:
        age = time.time() - entry.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:  # finished meanwhile
        return False
    return age > _DAY or (writer["host"] == _host() and not _runs(int(writer["process"])))


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _stem(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:_LONGEST])


def _writer() -> str:
    return f"{_host()}-{os.getpid()}-{secrets.token_hex(6)}"


def _host() -> str:
    """Return where process numbers mean the same: containers on one machine count their own."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]
