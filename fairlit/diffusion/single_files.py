"""Checkpoints in one file, as web UIs keep them.

Such a file holds weights alone, under the names of the original code. Configs and tokenizer are read from a folder
beside it that is called like the file without its ending: the folder of a pipeline of the same kind, whose weights are
not needed. Nothing is downloaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fairlit.io.model_folders import check_weight_file
from fairlit.io.tensor_headers import read_header

if TYPE_CHECKING:
    from fairlit.diffusion.families.family import Family
    from fairlit.errors import Problems

_PICKLES = (".ckpt", ".pt", ".pth", ".bin")
SINGLE_FILE = ".safetensors"  # ending


def is_single_file(path: str | Path) -> bool:
    """Return whether a path is a file of weights that can be opened without running code."""
    return Path(path).suffix == SINGLE_FILE and Path(path).is_file()


def config_folder(path: str | Path) -> Path | None:
    """Return the folder on this machine with configs and tokenizer of a pipeline; None of a hub id.

    Args:
        path: folder of a pipeline, single file or hub id.
    """
    if is_single_file(path):
        return Path(path).with_suffix("")
    return Path(path) if Path(path).is_dir() else None


def check_file(file: Path, problems: Problems, subject: str) -> Path | None:
    """Return the folder with the configs of a file; None, and a note, where there is none.

    Args:
        file: file that is given for a model.
        problems: collector of the messages.
        subject: name of the parameter, begins every message.
    """
    if file.suffix in _PICKLES:
        problems.add(
            f"{subject}: got the file {str(file)!r}, which may run code when it is opened; expected a {SINGLE_FILE} "
            "file; if you trust it, open it with its own program and save it as safetensors"
        )
        return None
    if file.suffix != SINGLE_FILE:
        problems.add(
            f"{subject}: got the file {str(file)!r}; expected a folder or a {SINGLE_FILE} file; give the folder of a "
            "pipeline"
        )
        return None
    folder = file.with_suffix("")
    if not folder.is_dir():
        problems.add(
            f"{subject}: got the file {str(file)!r}, and no folder {str(folder)!r} beside it; expected configs and "
            "tokenizer there; copy those of a pipeline folder of the same kind (its weights are not needed)"
        )
        return None
    return folder


def check_content(file: Path, family: Family, problems: Problems, subject: str) -> None:
    """Note that a file is damaged or quantised, or lacks the weights of a part: a LoRA, say, or a VAE alone.

    Args:
        file: single file.
        family: family of the pipeline that the configs beside it describe.
        problems: collector of the messages.
        subject: name of the parameter, begins every message.
    """
    before = len(problems.messages)
    check_weight_file(file, subject, problems)
    if len(problems.messages) > before:
        return
    names = read_header(file).tensors
    for part, prefix in family.single_file.items():
        if not any(name.startswith(prefix) for name in names):
            problems.add(
                f"{subject}: {file} holds no weights of the {part} ({prefix}...); give a whole checkpoint of "
                f"{family.title}"
            )
