"""A tiny random pipeline of Stable Diffusion XL."""

from __future__ import annotations

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

_WIDTH = 24  # of the second text encoder; the first has 32
_POOLED = 16


def build_tiny_xl(tiny: StableDiffusionPipeline) -> StableDiffusionXLPipeline:
    """Return a 64-pixel pipeline with the text encoder, the tokenizer and the autoencoder's config of another one."""
    first = tiny.text_encoder.config.to_dict()
    sizes = {"hidden_size": _WIDTH, "intermediate_size": 32, "num_attention_heads": 2, "projection_dim": _POOLED}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=16,
            block_out_channels=(16, 32),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            cross_attention_dim=first["hidden_size"] + _WIDTH,
            attention_head_dim=(2, 4),
            norm_num_groups=8,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + _POOLED,  # six numbers of sizes
            use_linear_projection=True,
        )
        second = CLIPTextModelWithProjection(CLIPTextConfig.from_dict(first | sizes))
        vae = AutoencoderKL.from_config(tiny.vae.config)
    pipeline = StableDiffusionXLPipeline(
        vae=vae.eval(),
        text_encoder=tiny.text_encoder,
        text_encoder_2=second.eval(),
        tokenizer=tiny.tokenizer,
        tokenizer_2=tiny.tokenizer,
        unet=unet.eval(),
        scheduler=EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
        add_watermarker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
