"""Notes that a command takes so that it can resume: lines of JSON, of which the damaged ones are not believed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairlit.io.foreign_text import parsed

_DIGEST = "digest"


def note_line(content: Mapping[str, Any]) -> str:
    """Return one line of notes, which carries a digest of its content.

    Args:
        content: plain data; its keys are texts, none of them ``digest``.
    """
    return json.dumps({**content, _DIGEST: _digest(content)}, ensure_ascii=False) + "\n"


def read_notes(path: Path, *, without_digest: bool = False) -> list[dict[str, Any] | None]:
    """Return the content of each line of notes; None in the place of a damaged line, no line where there is no file.

    A line is damaged if it is cut short, is not UTF-8, or differs from what was written by as little as a letter.

    Args:
        path: path of the notes.
        without_digest: whether lines without a digest count too, which earlier versions wrote.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return []
    return [_checked(line, without_digest=without_digest) for line in lines]


def _checked(line: bytes, *, without_digest: bool) -> dict[str, Any] | None:
    content = parsed(line)
    if not isinstance(content, dict):
        return None
    digest = content.pop(_DIGEST, None)
    whole = digest == _digest(content) or (without_digest and digest is None)
    return content if whole else None


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
