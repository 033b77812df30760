"""A Stable Diffusion pipeline as one file, under the names of the original code (CompVis' latent-diffusion)."""

from __future__ import annotations

import re
from pathlib import Path

from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file
from torch import Tensor

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def save_single_file(pipeline: StableDiffusionPipeline, file: Path, without: str = "") -> None:
    """Write the weights of a pipeline.

    Args:
        pipeline: its U-Net has attention in the last of its up blocks alone.
        file: file to write.
        without: tensors to leave out, by a part of their names in the file.
    """
    layers = pipeline.unet.config.layers_per_block
    blocks = len(pipeline.vae.config.block_out_channels)
    tensors: dict[str, Tensor] = {}
    for name, tensor in pipeline.unet.state_dict().items():
        tensors[f"model.diffusion_model.{unet_name(name, layers)}"] = tensor
    for name, tensor in pipeline.vae.state_dict().items():
        tensors[f"first_stage_model.{vae_name(name, blocks)}"] = tensor
    for name, tensor in pipeline.text_encoder.state_dict().items():
        tensors[f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}"] = tensor
    kept = {name: tensor.contiguous() for name, tensor in tensors.items() if not without or without not in name}
    save_file(kept, file)


def unet_name(name: str, layers: int) -> str:
    """Return what the original code calls a tensor of a U-Net with `layers` resnets a down block."""
    for ours, theirs in _UNET.items():
        if name.startswith(f"{ours}."):
            return name.replace(ours, theirs, 1)
    if match := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", name):
        place = 1 if match[1] == "attentions" else 2 * int(match[2])
        return f"middle_block.{place}.{match[3] if match[1] == 'attentions' else _resnet(match[3])}"
    match = re.fullmatch(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.+)", name)
    assert match is not None, name
    way, block, kind, layer, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
    start = block * (layers + 1) + (way == "down")
    place = f"{'input' if way == 'down' else 'output'}_blocks"
    if kind == "downsamplers":
        return f"{place}.{start + layers}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":
        return f"{place}.{start + layers}.1.{rest}"
    return f"{place}.{start + layer}.{f'0.{_resnet(rest)}' if kind == 'resnets' else f'1.{rest}'}"


def vae_name(name: str, blocks: int) -> str:
    """Return what the original code calls a tensor of an autoencoder of `blocks` blocks."""
    name = name.replace("conv_norm_out", "norm_out")
    if match := re.fullmatch(r"(\w+)\.mid_block\.(resnets|attentions)\.(\d)\.(.+)", name):
        if match[2] == "resnets":
            return f"{match[1]}.mid.block_{int(match[3]) + 1}.{match[4]}"
        layer, _, end = match[4].rpartition(".")
        return f"{match[1]}.mid.attn_1.{_VAE_ATTENTION[layer]}.{end}"
    if match := re.fullmatch(r"(\w+)\.(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.+)", name):
        block = int(match[3]) if match[2] == "down" else blocks - 1 - int(match[3])
        start = f"{match[1]}.{match[2]}.{block}"
        if match[4] != "resnets":
            return f"{start}.{match[4].removesuffix('rs')}.{match[6]}"
        return f"{start}.block.{match[5]}.{match[6].replace('conv_shortcut', 'nin_shortcut')}"
    return name


def _resnet(name: str) -> str:
    layer, _, end = name.rpartition(".")
    return f"{_RESNET[layer]}.{end}"
