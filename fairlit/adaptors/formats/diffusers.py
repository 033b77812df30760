"""The files of diffusers' `load_lora_weights` and `load_textual_inversion`, which are fairlit's own."""

from __future__ import annotations

import json
from collections.abc import Mapping

from torch import Tensor

from fairlit.adaptors.files import LORA_CONFIG_KEY
from fairlit.adaptors.formats.kohya import clip_tokens
from fairlit.adaptors.formats.low_rank import LowRankUpdates, by_component, peft_settings, peft_tensors


def write_lora(updates: LowRankUpdates) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and header strings of a LoRA file of diffusers, the true alpha included."""
    tensors: dict[str, Tensor] = {}
    for layer, update in updates.items():
        tensors.update(peft_tensors(layer, update))
    settings = {
        f"{component}.{name}": value
        for component, part in by_component(updates).items()
        for name, value in peft_settings(component, part).items()
    }
    return tensors, {LORA_CONFIG_KEY: json.dumps(settings, sort_keys=True)}


def write_tokens(token: str, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a textual inversion file of diffusers: rows [K, D] under the first token's name.

    Files for two text encoders call them ``clip_l`` and ``clip_g``, and do not tell the token: each is given to a call
    of `load_textual_inversion` with it.

    Args:
        token: name of the first token.
        rows: text encoders by name, and rows [K, D] for each.
    """
    return clip_tokens(rows) if len(rows) > 1 else {token: next(iter(rows.values()))}
