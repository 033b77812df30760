"""A pipeline without its weights: what an adaptor fits onto can be seen at once, however large the model."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import DiffusionPipeline
from torch import nn
from transformers import AutoConfig

from fairlit.adaptors.formats.low_rank import COMPONENTS
from fairlit.errors import ConfigurationError

_LIBRARIES = ("diffusers", "transformers")  # a model's files must not name other code to run


def open_skeleton(base: str | Path) -> DiffusionPipeline:
    """Opens the parts of a pipeline that adaptors touch, with their layers but without reading weights.

    The layers lie in memory that is never written to, so they cost none; adaptors load into them as into the real
    ones. Images cannot be made.

    Args:
        base: pipeline folder or hub id (whose small config files are then downloaded).

    Raises:
        ConfigurationError: a part is of a class that fairlit does not know.
    """
    local = Path(base).is_dir()
    index = DiffusionPipeline.load_config(str(base), local_files_only=local)
    parts: dict[str, Any] = {"vae": None, "safety_checker": None, "feature_extractor": None, "image_encoder": None}
    parts = {name: part for name, part in parts.items() if name in index}
    for name in COMPONENTS:
        library, class_name = index.get(name) or (None, None)
        if class_name is None:
            continue
        if library not in _LIBRARIES:
            raise ConfigurationError(f"base: {name} of {base} is of {library}.{class_name}; give a stock pipeline")
        kind = getattr(importlib.import_module(library), class_name)
        with init_empty_weights():
            if library == "diffusers":
                module = kind.from_config(kind.load_config(str(base), subfolder=name, local_files_only=local))
            else:
                module = kind(AutoConfig.from_pretrained(str(base), subfolder=name, local_files_only=local))
        parts[name] = _allocate(module)
    return DiffusionPipeline.from_pretrained(str(base), **parts, local_files_only=local)


@torch.no_grad()
def _allocate(module: nn.Module) -> nn.Module:
    module = module.to_empty(device="cpu").requires_grad_(False).eval()
    get_embeddings = getattr(module, "get_input_embeddings", None)
    if get_embeddings is not None:
        get_embeddings().weight.zero_()  # adding tokens computes the mean of this table
    return module
