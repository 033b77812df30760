"""Opens frozen transformers models, refusing what is not one with a message that helps."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, PreTrainedModel

from fairlit.errors import CheckpointError, ConfigurationError
from fairlit.io.finiteness import first_not_finite
from fairlit.io.model_folders import is_hub_id, is_taken, local_folder
from fairlit.io.tensor_headers import find_quantised, read_header

# transformers 5 checks a config's types with huggingface_hub's dataclasses, which raise errors of their own
_DAMAGED = (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, StrictDataclassError)


_LOG = logging.getLogger(__name__)


def load_frozen(
    path: str,
    model_class: type[Any],
    model_types: tuple[str, ...] | None,
    *,
    local_files_only: bool,
    subject: str = "encoder",
) -> PreTrainedModel:
    """A transformers model in float32, in eval mode, without gradients for its weights.

    Args:
        path: Folder or hub id.
        model_class: The transformers class that opens it.
        model_types: Values of `model_type` in config.json that will do, looked at before any weights; None: any.
        local_files_only: Never ask the hub.
        subject: What messages call the model.

    Raises:
        CheckpointError: Nothing is there, or it is damaged.
        ConfigurationError: It is a model of another kind.
    """
    try:
        config = AutoConfig.from_pretrained(path, local_files_only=local_files_only)
    except _DAMAGED as error:
        raise CheckpointError(
            f"{subject} {path!r} has no readable config.json ({_first_line(error)}): give a model folder or a hub id"
        ) from error
    if model_types is not None and config.model_type not in model_types:
        wanted = " or ".join(map(repr, model_types))
        raise ConfigurationError(f"{subject} {path!r} is a {config.model_type!r} model: give one of type {wanted}")
    _require_unquantised(path, subject)
    try:
        model, report = model_class.from_pretrained(
            path, local_files_only=local_files_only, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
    except (*_DAMAGED, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"weights of {subject} {path!r} cannot be read ({_first_line(error)}): copy model.safetensors again"
        ) from error
    if missing := sorted(report["missing_keys"]):
        raise CheckpointError(
            f"weights of {subject} {path!r} lack {missing[0]!r}: they belong to another model; give those of this one"
        )
    if (wrong := first_not_finite(model.state_dict())) is not None:
        raise CheckpointError(f"weights of {subject} {path!r} hold NaN or infinity in {wrong!r}: copy the model again")
    model.requires_grad_(False)
    return model.eval()


def resolve_encoder(path: str, *, local_files_only: bool) -> str:
    """Return the folder of a model: given, or the copy of a hub id; the id, and a line, where it is to be downloaded.

    Args:
        path: folder or hub id.
        local_files_only: whether nothing may be downloaded.
    """
    folder = local_folder(path)
    if folder is not None and (folder / "config.json").is_file() and any(folder.glob("[!.]*.safetensors")):
        return str(folder)
    if not local_files_only and is_hub_id(path):
        _LOG.info("download %s: it is not on this machine yet", path)
    return path


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _require_unquantised(path: str, subject: str) -> None:
    """Refuse quantised weights in a local folder; transformers 5 would cast them without a word."""
    for file in filter(is_taken, sorted(Path(path).glob("[!.]*.safetensors"))):
        with suppress(ValueError, OSError):  # what is damaged, loading tells
            if (found := find_quantised(read_header(file))) is not None:
                raise CheckpointError(f"{subject} {path!r}: {file.name} has {found}")
