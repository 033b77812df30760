"""Shapes of the miniature's models: ordinary diffusers and transformers classes, only small."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, UNet2DConditionModel
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2Model,
)

from fairlit_miniature.canvas import SIZE

MAX_TOKENS = 32
TEXT_WIDTH = 64


def seeded(seed: int) -> None:
    """Seeds the initial weights of what is built next."""
    torch.manual_seed(seed)


def build_vae() -> AutoencoderKL:
    """0.8 M parameters; 64 x 64 pixels become 4 x 16 x 16 latents."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 48, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=SIZE,
    )


def build_unet() -> UNet2DConditionModel:
    """4.7 M parameters; attends to the text at 8 x 8 and 4 x 4, where attention is cheap."""
    return UNet2DConditionModel(
        sample_size=SIZE // 4,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(40, 80, 128),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
    )


def _text_config(tokenizer: CLIPTokenizer, layers: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=tokenizer.model_max_length,
        projection_dim=TEXT_WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Three layers of width 64."""
    return CLIPTextModel(_text_config(tokenizer, 3))


def build_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """A CLIP of two text layers and three vision layers on patches of 8 pixels."""
    vision = CLIPVisionConfig(
        hidden_size=96,
        intermediate_size=288,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=SIZE,
        patch_size=8,
        projection_dim=TEXT_WIDTH,
    )
    text = _text_config(tokenizer, 2)
    return CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=TEXT_WIDTH))


def build_dino() -> Dinov2Model:
    """A DINOv2 of three layers on patches of 8 pixels."""
    return Dinov2Model(
        Dinov2Config(
            hidden_size=96, num_hidden_layers=3, num_attention_heads=4, mlp_ratio=3, image_size=SIZE, patch_size=8
        )
    )


def build_scheduler() -> DPMSolverMultistepScheduler:
    """DPM-Solver++ 2M on Stable Diffusion's noise schedule."""
    return DPMSolverMultistepScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        algorithm_type="dpmsolver++",
        solver_order=2,
        steps_offset=1,
    )
