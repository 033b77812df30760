"""Writes a pipeline folder of the size of Stable Diffusion v1-5 with random weights: no download, no licence, 2 GB.

What it draws is noise, but seconds and memory of a training step are those of the real one:
`python benchmarks/random_sd15.py runs/random_sd15`, then `--model.init_args.models.backbone runs/random_sd15`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from fairlit.diffusion.saving import save_text_encoder, save_tokenizer
from fairlit.io.atomic import atomic_write_text
from fairlit_miniature.tokenizing import SPECIAL, WORD_END, byte_characters, learn_merges

# The numbers in the public config files of stable-diffusion-v1-5.
UNET: dict[str, Any] = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
VAE: dict[str, Any] = {
    "sample_size": 512,
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
TEXT_ENCODER: dict[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "projection_dim": 768,
    "bos_token_id": 49406,
    "eos_token_id": 49407,
}
SCHEDULER: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
}
WORDS = ("a", "an", "of", "the", "photo", "face", "person", "woman", "man", "female", "male", "young", "old")


def build_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer with as many entries as the real one, most of which no text ever uses."""
    merges = learn_merges(WORDS)
    pieces = [*byte_characters(), *(character + WORD_END for character in byte_characters())]
    pieces = list(dict.fromkeys([*pieces, *(first + second for first, second in merges)]))
    unused = [f"<unused{number}>" for number in range(TEXT_ENCODER["vocab_size"] - len(pieces) - len(SPECIAL))]
    vocabulary = {piece: number for number, piece in enumerate([*pieces, *unused, *SPECIAL])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TEXT_ENCODER["max_position_embeddings"])


def build_part(name: str) -> nn.Module:
    """The U-Net, the VAE or the text encoder with random weights."""
    if name == "unet":
        return UNet2DConditionModel(**UNET)
    if name == "vae":
        return AutoencoderKL(**VAE)
    return CLIPTextModel(CLIPTextConfig(**TEXT_ENCODER))


def write_random_sd15(folder: Path, seed: int = 0) -> None:
    """Writes the whole pipeline, one part after another, in half precision; about 5 GB of memory at most."""
    index: dict[str, Any] = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.42.0"}
    for number, name in enumerate(("unet", "vae", "text_encoder")):
        torch.manual_seed(seed + number)
        part = build_part(name)
        if isinstance(part, CLIPTextModel):
            save_text_encoder(part.half(), folder / name)
        else:
            part.half().save_pretrained(folder / name)
        index[name] = ["transformers" if name == "text_encoder" else "diffusers", type(part).__name__]
        del part
    save_tokenizer(build_tokenizer(), folder / "tokenizer")
    PNDMScheduler(**SCHEDULER).save_pretrained(folder / "scheduler")
    index |= {"tokenizer": ["transformers", "CLIPTokenizer"], "scheduler": ["diffusers", "PNDMScheduler"]}
    index |= {"safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False}
    atomic_write_text(folder / "model_index.json", json.dumps(index, indent=2) + "\n")


def main() -> None:
    """Reads the command line and builds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where to write the pipeline")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    write_random_sd15(arguments.folder, arguments.seed)
    print(f"wrote {arguments.folder}")


if __name__ == "__main__":
    main()
