"""The manifest of a folder of images: ``manifest.jsonl``, one line of JSON an image."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from fairlit.io.atomic import atomic_write_text
from fairlit.io.foreign_text import parsed
from fairlit.results.manifest import ManifestEntry

MANIFEST = "manifest.jsonl"


def folder_name(index: int, prompt: str) -> str:
    """Return a folder's name for prompt number `index`.

    Example:
        >>> folder_name(3, "A photo of a chef, smiling")
        '003_a_photo_of_a_chef_smiling'
    """
    return f"{index:03d}_{re.sub(r'[^a-z0-9]+', '_', prompt.lower()).strip('_')[:60]}".rstrip("_")


def write_manifest(folder: str | Path, entries: Iterable[ManifestEntry]) -> Path:
    """Write the manifest atomically, in the order given, and return its path."""
    text = "".join(json.dumps(entry.to_json(), ensure_ascii=False) + "\n" for entry in entries)
    return atomic_write_text(Path(folder) / MANIFEST, text)


def read_manifest(folder: str | Path) -> tuple[list[ManifestEntry], list[int]]:
    """Read a manifest, whole or not, of this version or an older one.

    Returns:
        Entries, and the numbers (from 1) of lines that are not: they lack a ``file`` or a ``prompt``, or are no
        JSON that can be read.

    Raises:
        ConfigurationError: a line is of a newer version.
    """
    path = Path(folder) / MANIFEST
    entries: list[ManifestEntry] = []
    damaged: list[int] = []
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            content = parsed(line)
            if isinstance(content, dict) and all(isinstance(content.get(key), str) for key in ("file", "prompt")):
                entries.append(ManifestEntry.from_json(content, f"{path}, line {number}"))
            else:
                damaged.append(number)
    return entries, damaged
