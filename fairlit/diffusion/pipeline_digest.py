"""What tells a pipeline from another one that lies, or lay, in the same folder."""

from __future__ import annotations

import re
from pathlib import Path

from fairlit.diffusion.families.lookup import family_in
from fairlit.diffusion.single_files import config_folder, is_single_file
from fairlit.io.digests import files_digest
from fairlit.io.model_folders import find_variant

_DESCRIPTIONS = (".json", ".txt")  # configs, and vocabularies of tokenizers


def pipeline_digest(path: str | Path) -> str | None:
    """Return a digest of the files that sampling with a pipeline depends on; None for a hub id, which is trusted.

    Args:
        path: folder or single file that `check_pipeline` has checked, or a hub id.

    Raises:
        ConfigurationError: weights have unknown names alone.
    """
    root = config_folder(path)
    if root is None:
        return None
    family = family_in(root, "model")
    single = is_single_file(path)
    weights = {} if single else family.weights
    files = [file for part in (*family.parts, "scheduler") for file in _files(root / part, weights.get(part))]
    settings = [root / "model_index.json"] if family.index_settings else []
    return files_digest([*([Path(path)] if single else []), *settings, *files])


def _files(folder: Path, name: str | None) -> list[Path]:
    """The files of a part that are opened: descriptions, and weights of the variant that is loaded.

    Args:
        folder: folder of the part.
        name: name of its weights without variant and ending; None: it has none.
    """
    weights = None
    if name is not None:
        variant = find_variant(folder, name, "model")
        numbered = r"(-\d+-of-\d+)?"
        marked = "" if variant is None else rf"\.{variant}"
        weights = re.compile(rf"{name}(?:{marked}{numbered}|{numbered}{marked})\.safetensors")
    return [
        file
        for file in sorted(folder.glob("[!.]*"))
        if file.suffix in _DESCRIPTIONS or (weights is not None and weights.fullmatch(file.name))
    ]
