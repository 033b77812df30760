"""A pipeline without its weights: what fits onto a model, and what it would take, can be seen at once."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import nn
from transformers import AutoConfig

from fairlit.diffusion.loading import refused_if_damaged
from fairlit.errors import ConfigurationError
from fairlit.io.model_folders import local_folder

ADAPTED_PARTS = ("text_encoder", "text_encoder_2", "unet")  # of a pipeline; a LoRA may change them
_MODELS = (*ADAPTED_PARTS, "vae", "safety_checker", "image_encoder")
_LIBRARIES = ("diffusers", "transformers")  # a model's files must not name other code to run


def open_skeleton(
    base: str | Path, parts: Sequence[str] = ADAPTED_PARTS, *, allocate: bool = True
) -> DiffusionPipeline:
    """Opens a pipeline with some of its models as layers without weights, and without the other models.

    Args:
        base: pipeline folder or hub id (whose small config files are then downloaded).
        parts: models to open, as far as the pipeline has them.
        allocate: give them memory, into which adaptors load as into the real ones; it is not written to and so costs
            none. Without, their parameters are on torch's meta device. Images cannot be made in either case.

    Raises:
        ConfigurationError: a part is of a class that fairlit does not know.
    """
    found = local_folder(base)
    base = found if found is not None and (found / "model_index.json").is_file() else base
    local = Path(base).is_dir()
    index = DiffusionPipeline.load_config(str(base), local_files_only=local)
    models: dict[str, Any] = {name: None for name in (*_MODELS, "feature_extractor") if name in index}
    for name in parts:
        library, class_name = index.get(name) or (None, None)
        if class_name is None:
            continue
        if library not in _LIBRARIES:
            raise ConfigurationError(f"base: {name} of {base} is of {library}.{class_name}; give a stock pipeline")
        kind = getattr(importlib.import_module(library), str(class_name), None)
        if kind is None:
            raise ConfigurationError(
                f"base: {name} of {base} is of {class_name}, which {library} does not have; update {library}, or give "
                "another pipeline"
            )
        with torch.device("meta"), refused_if_damaged(Path(base) / name):
            if library == "diffusers":
                module = kind.from_config(kind.load_config(str(base), subfolder=name, local_files_only=local))
            else:
                module = kind(AutoConfig.from_pretrained(str(base), subfolder=name, local_files_only=local))
        models[name] = _allocate(module) if allocate else module
    with refused_if_damaged(base):
        return DiffusionPipeline.from_pretrained(str(base), **models, local_files_only=local)


@torch.no_grad()
def _allocate(module: nn.Module) -> nn.Module:
    module = module.to_empty(device="cpu").requires_grad_(False).eval()
    get_embeddings = getattr(module, "get_input_embeddings", None)
    if get_embeddings is not None:
        get_embeddings().weight.zero_()  # adding tokens computes the mean of this table
    return module
