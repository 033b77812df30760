"""The files that hold the weights of one model, and the tensors in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from fairlit.errors import Problems
from fairlit.io.model_folders import find_variant, read_json
from fairlit.io.tensor_headers import TensorHeader, read_header


def read_headers(files: Iterable[Path]) -> dict[str, TensorHeader]:
    """Return the tensors of whole safetensors files, by name.

    Args:
        files: files that `check_weight_file` has found whole.
    """
    return {name: tensor for file in files for name, tensor in read_header(file).tensors.items()}


def chosen_files(folder: Path, stem: str, subject: str, problems: Problems) -> list[Path]:
    """Return the files of one model that would be loaded: one, or the shards that its index names.

    Args:
        folder: folder of the model.
        stem: name of its weights without variant and ending.
        subject: name of the parameter, begins every message.
        problems: collector of the messages.
    """
    variant = find_variant(folder, stem, subject)
    whole = folder / f"{stem}{f'.{variant}' if variant else ''}.safetensors"
    if whole.is_file():
        return [whole]
    index = folder / f"{stem}.safetensors.index{f'.{variant}' if variant else ''}.json"
    content = read_json(index, subject, problems) or {}
    shards = content.get("weight_map")
    names = sorted({str(name) for name in shards.values()}) if isinstance(shards, Mapping) else []
    if missing := [name for name in names if not (folder / name).is_file()]:
        problems.add(f"{subject}: {folder / missing[0]} is missing, which {index.name} names; copy the model again")
    return [folder / name for name in names if name not in missing]
