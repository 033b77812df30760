"""The manifest of a folder of images: ``manifest.jsonl``, one line of JSON an image."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fairlit.io.atomic import atomic_write_text

MANIFEST = "manifest.jsonl"


def folder_name(index: int, prompt: str) -> str:
    """A folder's name for prompt number `index`.

    Example:
        >>> folder_name(3, "A photo of a chef, smiling")
        '003_a_photo_of_a_chef_smiling'
    """
    return f"{index:03d}_{re.sub(r'[^a-z0-9]+', '_', prompt.lower()).strip('_')[:60]}".rstrip("_")


def write_manifest(folder: str | Path, entries: Iterable[Mapping[str, Any]]) -> Path:
    """Writes the manifest atomically, in the order given."""
    text = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
    return atomic_write_text(Path(folder) / MANIFEST, text)


def read_manifest(folder: str | Path) -> tuple[list[dict[str, Any]], list[int]]:
    """Reads a manifest, whole or not.

    Returns:
        Entries with at least a ``file`` and a ``prompt`` in text, and the numbers (from 1) of lines that are none.
    """
    entries: list[dict[str, Any]] = []
    damaged: list[int] = []
    with (Path(folder) / MANIFEST).open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
            except ValueError:
                entry = None
            if isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in ("file", "prompt")):
                entries.append(entry)
            else:
                damaged.append(number)
    return entries, damaged
