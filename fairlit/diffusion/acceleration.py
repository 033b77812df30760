"""How the model runs, as far as its results depend on that by rounding alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from fairlit.diffusion.attention import choose_attention
from fairlit.diffusion.backbone import Backbone
from fairlit.diffusion.settings import ImageSize
from fairlit.errors import Problems

# Prompts are padded to the longest of a batch, so each length of prompt is a shape of its own, times the sizes of
# batches with and without gradient, with the adaptor on and off.
_COMPILED_SHAPES = 128


@dataclass(frozen=True)
class Acceleration:
    """How the models run; results depend on it by rounding alone.

    Attributes:
        channels_last: whether the convolutions of U-Net and VAE are laid out with channels last.
        compile: whether the U-Net is compiled, once for each shape of its input; pays in long runs on a GPU.
        attention: attention kernel: `auto` (on a GPU, torch's kernels are timed for each head size and the fastest is
            taken) or `torch` (what torch takes).
        unet_checkpointing: whether the replay recomputes the U-Net's blocks instead of keeping their activations.
        vae_checkpointing: whether the losses recompute the VAE's blocks; for GPUs that cannot hold the decoding of one
            image.
    """

    channels_last: bool = True
    compile: bool = False
    attention: Literal["auto", "torch"] = "auto"
    unet_checkpointing: bool = False
    vae_checkpointing: bool = False

    def __post_init__(self) -> None:
        with Problems("acceleration") as problems:
            if self.attention not in ("auto", "torch"):
                problems.add(f"attention: got {self.attention!r}; choose auto or torch")


def accelerate(backbone: Backbone, acceleration: Acceleration, sharded: bool = False) -> None:
    """Ready a loaded model, all but its attention, which is timed where the model will run.

    Args:
        backbone: the model, with the adaptor attached.
        acceleration: how the model is to run.
        sharded: the U-Net will be spread over processes by FSDP2, which takes contiguous parameters alone.
    """
    if acceleration.channels_last:
        use_channels_last(backbone.vae)
        if not sharded:
            use_channels_last(backbone.denoiser)
    use_checkpointing(backbone, acceleration.unet_checkpointing, acceleration.vae_checkpointing)
    if acceleration.compile:
        compile_unet(backbone)


def tune_attention(backbone: Backbone, image_size: ImageSize | None, batch: int) -> None:
    """Give the U-Net the attention kernels that are fastest on its GPU, under the autocast that is on.

    Args:
        backbone: the model on its GPU.
        image_size: size of the images in pixels; None: the model's own.
        batch: samples that go through the U-Net at once.
    """
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else torch.float32
    _, height, width = backbone.latent_shape(image_size)
    choose_attention(backbone.denoiser, height * width, batch, dtype=dtype)


def use_channels_last(*modules: nn.Module) -> None:
    """Lay out the convolutions' weights as their fastest kernels want them."""
    for module in modules:
        module.to(memory_format=torch.channels_last)


def use_checkpointing(backbone: Backbone, unet: bool, vae: bool) -> None:
    """Have blocks recompute their activations in the backward pass instead of keeping them."""
    for module, checkpointing in ((backbone.denoiser, unet), (backbone.vae, vae)):
        if checkpointing:
            module.enable_gradient_checkpointing()
        else:
            module.disable_gradient_checkpointing()


def compile_unet(backbone: Backbone) -> None:
    """Compile the whole U-Net, anew for each shape of its input."""
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _COMPILED_SHAPES)
    denoiser: nn.Module = backbone.denoiser
    denoiser.compile(dynamic=False)
