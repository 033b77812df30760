"""Fixtures for all tests: a real, tiny, randomly initialised Stable Diffusion pipeline on disk."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach for the network
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

torch.set_num_threads(1)
diffusers_logging.disable_progress_bar()
transformers_logging.disable_progress_bar()

WORDS = (
    "a",
    "photo",
    "of",
    "the",
    "face",
    "doctor",
    "nurse",
    "chef",
    "farmer",
    "person",
    "woman",
    "man",
    "young",
    "old",
)
START, END = "<|startoftext|>", "<|endoftext|>"


def tiny_tokenizer() -> CLIPTokenizer:
    """A real CLIP tokenizer: every printable ASCII letter, plus one token for each of `WORDS`."""
    characters = [chr(code) for code in range(33, 127)]
    pieces = characters + [f"{character}</w>" for character in characters]
    merges = []
    for word in WORDS:
        symbols = [*word[:-1], f"{word[-1]}</w>"]
        while len(symbols) > 1:
            merges.append(f"{symbols[0]} {symbols[1]}")
            symbols[:2] = [symbols[0] + symbols[1]]
            pieces.append(symbols[0])
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys([*pieces, START, END]))}
    unique_merges = [tuple(merge.split(" ")) for merge in dict.fromkeys(merges)]
    return CLIPTokenizer(vocab=vocabulary, merges=unique_merges, model_max_length=77)


def tiny_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_tiny_pipeline(seed: int = 0) -> StableDiffusionPipeline:
    """64-pixel pipeline with 16x16x4 latents and seeded random weights, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = tiny_tokenizer()
        text_encoder = tiny_text_encoder(tokenizer)
        vae = AutoencoderKL(
            block_out_channels=(8, 8, 16),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=4,
            sample_size=64,
        )
        unet = UNet2DConditionModel(
            sample_size=16,
            block_out_channels=(16, 32),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=1,
            cross_attention_dim=32,
            attention_head_dim=2,
            norm_num_groups=8,
        )
        scheduler = DPMSolverMultistepScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        )
    pipeline = StableDiffusionPipeline(
        vae=vae.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=tokenizer,
        unet=unet.eval(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="session")
def tiny_pipeline_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that `StableDiffusionPipeline.from_pretrained` opens; read-only for tests."""
    folder = tmp_path_factory.mktemp("tiny") / "pipeline"
    build_tiny_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture
def tiny_pipeline(tiny_pipeline_folder: Path) -> StableDiffusionPipeline:
    """A fresh pipeline from `tiny_pipeline_folder`, float32, eval mode, the test's own to change."""
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_pipeline_folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
