"""Looks at model folders without loading them, so that a missing or damaged one is refused before any work."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fairlit.errors import ConfigurationError, Problems
from fairlit.io.digests import files_digest
from fairlit.io.foreign_text import is_sound, printable
from fairlit.io.output_places import check_writable
from fairlit.io.tensor_headers import find_quantised, read_header

_VARIANTS = ("fp32", "fp16", "bf16")  # in the order in which they are taken
_MODEL_FILES = (".json", ".safetensors", ".txt")
_LONGEST_ID = 200  # characters; hubs take fewer
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def is_hub_id(path: str | Path) -> bool:
    """Whether a path that does not exist can be the id of a model on a hub (organisation/name).

    What lies below an existing folder is a mistyped path: ``checkpoints/minature`` is no hub id where there is a
    folder `checkpoints`.
    """
    return len(str(path)) <= _LONGEST_ID and _HUB_ID.fullmatch(str(path)) is not None and not Path(path).parent.is_dir()


def local_folder(path: str | Path) -> Path | None:
    """Where a model lies on this machine: its folder, or the copy of a hub id that was downloaded before.

    Returns:
        None where there is none. Nothing is downloaded.
    """
    if Path(path).exists() or not is_hub_id(path):
        return Path(path) if Path(path).is_dir() else None
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(path), local_files_only=True))
    except (OSError, ValueError):  # what the hub's client raises where nothing is there
        return None


def model_digest(path: str | Path) -> str | None:
    """Return a digest of configs, tokenizer and weights in the folder of a model; None for a hub id, which is trusted.

    Args:
        path: folder or hub id.
    """
    folder = Path(path)
    if not folder.is_dir():
        return None
    return files_digest(file for file in sorted(folder.glob("[!.]*")) if file.suffix in _MODEL_FILES)


def check_encoding(path: str | Path, subject: str, problems: Problems) -> None:
    """Notes a path that is not UTF-8: safetensors 0.8 opens none of them."""
    if not is_sound(str(path)):
        problems.add(f"{subject}: got the path {printable(str(path))!r}, which is not UTF-8; rename it")


def check_model_folder(path: str | Path, subject: str, problems: Problems) -> None:
    """Notes what is wrong with the folder of a transformers model; a hub id is taken on trust.

    Args:
        path: folder or hub id.
        subject: the parameter's name, begins every message.
        problems: where messages go.
    """
    folder = Path(path)
    check_encoding(path, subject, problems)
    if folder.is_dir():
        read_json(folder / "config.json", subject, problems)
        check_weights(folder, subject, problems, suffixes=(".safetensors",))
    elif folder.exists():
        problems.add(f"{subject}: {str(path)!r} is a file; give the folder that it lies in")
    elif not is_hub_id(path):
        problems.add(f"{subject}: {str(path)!r} is neither a folder nor a hub id; give the folder of a model")


def check_new_folder(path: str | Path, subject: str, problems: Problems) -> None:
    """Notes that a folder to be written holds something already, or cannot be made.

    Args:
        path: the folder.
        subject: the parameter's name, begins the message.
        problems: where messages go.
    """
    folder = Path(path)
    if folder.is_dir() and any(folder.iterdir()):
        problems.add(f"{subject}: {folder} holds files already; give a new folder, or remove it first")
    check_writable(folder, subject, problems)


def check_weights(
    folder: Path, subject: str, problems: Problems, *, suffixes: Sequence[str] = (".safetensors", ".bin")
) -> None:
    """Notes weights that are missing, or cut short as an interrupted copy leaves them.

    Args:
        folder: where the weights are; need not exist.
        subject: the parameter's name, begins every message.
        problems: where messages go.
        suffixes: of files that hold weights.
    """
    files = sorted(folder.glob("[!.]*")) if folder.is_dir() else []  # a killed writer leaves hidden files: no matter
    weights = [file for file in files if file.suffix in suffixes]
    if not weights:
        pickled = any(file.suffix in (".bin", ".ckpt", ".pt", ".pth") for file in files)
        remedy = (
            "what it holds may run code when it is opened; if you trust it, open it with its own library and write it "
            "with save_pretrained(FOLDER, safe_serialization=True)"
            if pickled
            else "copy it again"
        )
        problems.add(f"{subject}: {folder} holds no weights ({' or '.join(suffixes)}); {remedy}")
    for file in weights:
        check_weight_file(file, subject, problems)


def find_variant(folder: Path, name: str, subject: str) -> str | None:
    """Return the variant (`fp16` of ``model.fp16.safetensors``) of the weights to load; None where they have none.

    Args:
        folder: folder of one model.
        name: name of its weights without variant and ending.
        subject: name of the parameter, begins the message.

    Raises:
        ConfigurationError: there are weights under other names alone.
    """
    ends = (f"{name}.safetensors", f"{name}.safetensors.index.json")
    if any((folder / end).is_file() for end in ends):
        return None
    for variant in _VARIANTS:
        if any((folder / end).is_file() for end in (f"{name}.{variant}.safetensors", f"{ends[1][:-5]}.{variant}.json")):
            return variant
    found = sorted(file.name for file in folder.glob("[!.]*.safetensors"))
    if not found:
        return None
    raise ConfigurationError(
        f"{subject}: got {', '.join(found)} in {folder}; expected {ends[0]}, or variants of it "
        f"({', '.join(_VARIANTS)}); rename the file that you want"
    )


def is_taken(file: Path) -> bool:
    """Return whether a file of weights is no variant, or one that can be loaded."""
    variant = file.suffixes[-2:-1]
    return not variant or variant[0][1:] in _VARIANTS


def check_weight_file(file: Path, subject: str, problems: Problems) -> None:
    """Notes that a file of weights is empty or, if it is safetensors, shorter than its header says, or quantised."""
    size, declared, packed = file.stat().st_size, 1, None
    if file.suffix == ".safetensors":
        try:
            header = read_header(file)
        except ValueError as error:
            problems.add(f"{subject}: {file} is no safetensors file ({error}); copy it again")
            return
        declared, packed = header.size, find_quantised(header)
    if size < declared:
        problems.add(f"{subject}: {file} is cut short ({size} bytes of {declared}); copy it again")
    elif packed and is_taken(file):
        problems.add(f"{subject}: {file} has {packed}")


def read_json(path: Path, subject: str, problems: Problems) -> dict[str, Any] | None:
    """The mapping in a JSON file; None, and a note, where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        problems.add(f"{subject}: {path} is missing; give the folder of a complete model")
        return None
    except (OSError, ValueError) as error:
        problems.add(f"{subject}: {path} is damaged ({error}); copy it again")
        return None
    if not isinstance(content, dict):
        problems.add(f"{subject}: {path} is damaged (no mapping but {type(content).__name__}); copy it again")
        return None
    return content
