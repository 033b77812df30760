"""The files of diffusers' `load_lora_weights` and `load_textual_inversion`, which are fairlit's own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from peft.utils.other import get_pattern_key
from torch import Tensor

from fairlit.adaptors.files import LORA_CONFIG_KEY
from fairlit.adaptors.formats.low_rank import (
    LowRankUpdates,
    by_component,
    component_of,
    module_name,
    pair,
    peft_settings,
)
from fairlit.adaptors.lora import canonical_name
from fairlit.diffusion.skeleton import ADAPTED_PARTS
from fairlit.errors import CheckpointError

_TENSOR = re.compile(rf"(?P<layer>(?:{'|'.join(ADAPTED_PARTS)})\..+)\.lora_(?P<factor>[AB])\.weight")


def read_lora(source: str, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> LowRankUpdates:
    """Return the updates in a LoRA file of diffusers.

    Args:
        source: the file, for messages.
        tensors: named ``<component>.<layer>.lora_A.weight`` and ``...lora_B.weight``.
        header: strings of the safetensors header; where they tell no alpha, it is the rank, as diffusers takes it.

    Raises:
        CheckpointError: a tensor has another name, lacks its counterpart, or the header is damaged.
    """
    named = []
    for name in tensors:
        match = _TENSOR.fullmatch(canonical_name(name))
        if match is None:
            raise CheckpointError(
                f"{source}: tensor '{name}' of shape {list(tensors[name].shape)} is not one of a diffusers LoRA of "
                "linear layers (<component>.<layer>.lora_A.weight or lora_B.weight); give a file that fairlit or "
                "diffusers has written"
            )
        named.append((name, match["layer"], {"A": "down", "B": "up"}[match["factor"]]))
    try:
        settings = json.loads(header.get(LORA_CONFIG_KEY, "{}"))
        if any(settings.get(f"{component}.use_dora") for component in ADAPTED_PARTS):
            raise CheckpointError(f"{source}: a DoRA, which also scales the model's weights; only LoRA is supported")
        alphas = {layer: alpha for _, layer, _ in named if (alpha := _alpha(settings, layer)) is not None}
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{source}: its '{LORA_CONFIG_KEY}' header is damaged ({error}); save the adaptor again"
        ) from error
    return pair(source, tensors, named, alphas)


def write_lora(updates: LowRankUpdates) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and header strings of a LoRA file of diffusers, the true alpha included."""
    tensors: dict[str, Tensor] = {}
    for layer, update in updates.items():
        tensors[f"{layer}.lora_A.weight"] = update.down
        tensors[f"{layer}.lora_B.weight"] = update.up
    settings = {
        f"{component}.{name}": value
        for component, part in by_component(updates).items()
        for name, value in peft_settings(component, part).items()
    }
    return tensors, {LORA_CONFIG_KEY: json.dumps(settings, sort_keys=True)}


def write_tokens(token: str, rows: Tensor) -> dict[str, Tensor]:
    """Return the tensors of a textual inversion file of diffusers: rows [K, D] under the first token's name."""
    return {token: rows}


def _alpha(settings: Mapping[str, Any], layer: str) -> float | None:
    """Return what the header says about one layer; None if nothing."""
    component = component_of(layer)
    pattern = settings.get(f"{component}.alpha_pattern") or {}
    name = module_name(component, layer.split(".", 1)[1])
    alpha = pattern.get(get_pattern_key(list(pattern), name), settings.get(f"{component}.lora_alpha"))
    return None if alpha is None else float(alpha)
