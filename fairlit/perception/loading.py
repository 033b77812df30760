"""Opens frozen transformers models, refusing what is not one with a message that helps."""

from __future__ import annotations

from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, PreTrainedModel

from fairlit.errors import CheckpointError, ConfigurationError

# transformers 5 checks a config's types with huggingface_hub's dataclasses, which raise errors of their own
_DAMAGED = (OSError, ValueError, TypeError, KeyError, AttributeError, StrictDataclassError)


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
    try:
        model, report = model_class.from_pretrained(
            path, local_files_only=local_files_only, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
    except (*_DAMAGED, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"weights of {subject} {path!r} cannot be read ({_first_line(error)}): copy model.safetensors again"
        ) from error
    if missing := sorted(report["missing_keys"]):
        raise CheckpointError(f"weights of {subject} {path!r} lack {missing[0]!r}: they belong to another model")
    for name, tensor in model.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"weights of {subject} {path!r} hold NaN or infinity in {name!r}: copy the model again"
            )
    model.requires_grad_(False)
    return model.eval()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
