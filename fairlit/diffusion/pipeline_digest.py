"""What tells a pipeline from another one that lies, or lay, in the same folder."""

from __future__ import annotations

import re
from pathlib import Path

from fairlit.diffusion.stable_diffusion import PARTS, WEIGHTS_NAMES
from fairlit.io.digests import files_digest
from fairlit.io.model_folders import find_variant

_DESCRIPTIONS = (".json", ".txt")  # configs, and vocabularies of tokenizers


def pipeline_digest(path: str | Path) -> str | None:
    """Return a digest of the files that sampling with a pipeline depends on; None for a hub id, which is trusted.

    Args:
        path: folder that `check_pipeline` has checked, or a hub id.

    Raises:
        ConfigurationError: weights have unknown names alone.
    """
    root = Path(path)
    if not root.is_dir():
        return None
    return files_digest(file for part in (*PARTS, "scheduler") for file in _files(root / part, part))


def _files(folder: Path, part: str) -> list[Path]:
    """The files of a part that are opened: descriptions, and weights of the variant that is loaded."""
    weights = None
    if (name := WEIGHTS_NAMES.get(part)) is not None:
        variant = find_variant(folder, name, "model")
        numbered = r"(-\d+-of-\d+)?"
        marked = "" if variant is None else rf"\.{variant}"
        weights = re.compile(rf"{name}(?:{marked}{numbered}|{numbered}{marked})\.safetensors")
    return [
        file
        for file in sorted(folder.glob("[!.]*"))
        if file.suffix in _DESCRIPTIONS or (weights is not None and weights.fullmatch(file.name))
    ]
