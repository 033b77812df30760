"""The files that kohya-ss' scripts write and ComfyUI and AUTOMATIC1111's web UI read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor

from fairlit.adaptors.formats.low_rank import LowRank, LowRankUpdates, by_component

TOKENS_KEY = "emb_params"
CLIP_KEYS = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}
"""What files call the soft tokens of each of two text encoders, those for stock diffusers too."""
# Width of what the U-Net's cross-attention reads -> what kohya-ss calls the model.
_BASE_MODELS = {768: "sd_v1", 1024: "sd_v2", 2048: "sdxl_base_v1-0"}


_PREFIXES = {"unet": ("lora_unet",), "text_encoder": ("lora_te", "lora_te1"), "text_encoder_2": ("lora_te2",)}


def layer_prefixes(component: str) -> tuple[str, ...]:
    """Return how names of layers in a part of the pipeline may begin: with one text encoder, and with two."""
    return _PREFIXES[component]


def write_lora(updates: LowRankUpdates, sdxl: bool) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return tensors and header of a kohya LoRA: ``lora_unet_mid_block_...to_q.lora_down.weight`` and ``....alpha``.

    Where layers of one part of the pipeline differ in alpha, all get the most common one and the others' factors are
    scaled to the same update: diffusers' reader passes over the alpha of single layers.

    Args:
        updates: of one or more parts of a pipeline.
        sdxl: whether the base model has two text encoders; the first is then ``lora_te1`` instead of ``lora_te``.
    """
    prefixes = {component: names[-1 if sdxl else 0] for component, names in _PREFIXES.items()}
    tensors: dict[str, Tensor] = {}
    for component, part in by_component(_with_outputs(updates)).items():
        alpha = Counter(update.alpha for update in part.values()).most_common(1)[0][0]
        for layer, update in part.items():
            name = f"{prefixes[component]}_{layer.replace('.', '_')}"
            tensors[f"{name}.lora_down.weight"] = update.down
            tensors[f"{name}.lora_up.weight"] = update.up * (update.alpha / alpha)
            tensors[f"{name}.alpha"] = torch.tensor(alpha)
    first = next(iter(updates.values()))
    header = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(first.rank),
        "ss_network_alpha": str(first.alpha),
    }
    width = _width(updates)
    if sdxl or width in _BASE_MODELS:
        header["ss_base_model_version"] = _BASE_MODELS[2048 if sdxl else width]
    if not sdxl and width == 1024:
        header["ss_v2"] = (
            "True"  # what A1111's web UI (1.10) goes by; it hides LoRAs of other models than the loaded one
        )
    return tensors, header


def write_tokens(rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of an embedding file; its name is the word in the prompt.

    Args:
        rows: text encoders by name, and rows [K, D] for each.
    """
    return clip_tokens(rows) if len(rows) > 1 else {TOKENS_KEY: next(iter(rows.values()))}


def clip_tokens(rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a file of soft tokens for several text encoders, see `write_tokens`."""
    return {CLIP_KEYS[encoder]: tensor for encoder, tensor in rows.items()}


def _width(updates: LowRankUpdates) -> int:
    """Return the width of the prompt's embeddings as far as the layers tell it, else 0."""
    for layer, update in updates.items():
        if layer.endswith((".attn2.to_k", ".attn2.to_v", ".self_attn.q_proj", ".mlp.fc1")):
            return update.down.shape[1]
    return 0


def _with_outputs(updates: LowRankUpdates) -> LowRankUpdates:
    """Add one zero update of an ``out_proj`` to a text encoder whose attention is adapted without any.

    diffusers recognises the kohya layout of a text encoder by that layer alone. Zeros change nothing anywhere.
    """
    added: LowRankUpdates = {}
    for layer, update in updates.items():
        match = re.fullmatch(r"(text_encoder(?:_2)?)(\..+\.self_attn)\.[qkv]_proj", layer)
        if match is None:
            continue
        known = (*updates, *added)
        if not any(name.startswith(f"{match[1]}.") and name.endswith(".self_attn.out_proj") for name in known):
            zeros = LowRank(torch.zeros_like(update.down), torch.zeros_like(update.up), update.alpha, update.origin)
            added[f"{match[1]}{match[2]}.out_proj"] = zeros
    return {**updates, **added}
