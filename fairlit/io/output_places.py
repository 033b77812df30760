"""Whether output can be written, said before work begins."""

from __future__ import annotations

import os
from pathlib import Path

from fairlit.errors import Problems


def check_writable(path: str | Path, subject: str, problems: Problems, *, folder: bool = True) -> None:
    """Note that a folder or file cannot be written.

    Args:
        path: folder or file; need not exist.
        subject: name of the parameter, begins the message.
        problems: collector of the messages.
        folder: whether it is a folder.

    Example:
        >>> with Problems("generate") as problems:
        ...     check_writable("/dev/null/a", "out", problems)
        Traceback (most recent call last):
        ...
        fairlit.errors.ConfigurationError: generate: out: got /dev/null/a, which cannot be written to (/dev/null is...
    """
    given = Path(path)
    place = given.absolute() if folder else given.absolute().parent
    if folder and given.exists() and not given.is_dir():
        problems.add(f"{subject}: {given} is a file; give a folder")
        return
    if not folder and given.is_dir():
        problems.add(f"{subject}: {given} is a folder; give a file")
        return
    while not os.path.lexists(place):
        place = place.parent
    reason = "is a file" if not place.is_dir() else "may not be written to" if not os.access(place, os.W_OK) else ""
    if reason:
        problems.add(f"{subject}: got {given}, which cannot be written to ({place} {reason}); give a place of yours")
