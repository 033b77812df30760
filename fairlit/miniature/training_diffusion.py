"""Trains the miniature's U-Net and text encoder together on the latents of captioned drawings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from rich.progress import Progress
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from fairlit.miniature.loop import Schedule, train
from fairlit.miniature.models import build_scheduler, build_text_encoder, build_unet, seeded

BATCH = 32
CAPTION_DROPOUT = 0.1
SNR_LIMIT = 5.0
HIGH_NOISE_LIMIT = 12.0


@dataclass(frozen=True)
class Captioned:
    """What the diffusion model learns from.

    Attributes:
        latents: scaled latent means, float16 [2, N, 4, 16, 16]: as drawn, and mirrored.
        tokens: caption tokens padded to the tokenizer's length, int64 [N, T].
        empty: tokens of the empty caption, int64 [T].
    """

    latents: Tensor
    tokens: Tensor
    empty: Tensor


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Caption tokens padded to the tokenizer's length: int64 [N, T].

    Raises:
        ValueError: a caption is too long for the tokenizer.
    """
    encoded = tokenizer(captions, padding="max_length", return_tensors="pt").input_ids
    if encoded.shape[1] > tokenizer.model_max_length:
        raise ValueError(
            f"a caption has {encoded.shape[1]} tokens, more than the {tokenizer.model_max_length} there is room for"
        )
    return encoded


def min_snr_weights(alphas_cumprod: Tensor) -> Tensor:
    """Weights min(SNR, 5) / SNR of the noise-prediction loss per timestep (Hang et al. 2023, arXiv 2303.09556)."""
    snr = alphas_cumprod / (1.0 - alphas_cumprod)
    return snr.clamp(max=SNR_LIMIT) / snr


def high_noise_weights(alphas_cumprod: Tensor) -> Tensor:
    """As `min_snr_weights`, times 1 + 1 / SNR up to `HIGH_NOISE_LIMIT`: what a loss on v would weigh.

    Who is in a picture is decided at high noise, where the error of the noise says little about it; without these
    weights words such as "female" are learned many thousand steps after crisp pictures.
    """
    snr = alphas_cumprod / (1.0 - alphas_cumprod)
    return min_snr_weights(alphas_cumprod) * (1.0 + 1.0 / snr).clamp(max=HIGH_NOISE_LIMIT)


def _drop_and_cut(data: Captioned, index: Tensor, generator: torch.Generator) -> Tensor:
    """Tokens of a batch: some captions emptied; padded to the longest of the batch in every other batch."""
    tokens = data.tokens[index].clone()
    dropped = torch.rand(len(index), generator=generator) < CAPTION_DROPOUT
    tokens[dropped] = data.empty
    if torch.rand((), generator=generator) < 0.5:
        padding = tokens[0, -1]
        longest = int((tokens != padding).sum(dim=1).max()) + 1
        tokens = tokens[:, :longest]
    return tokens


def train_diffusion(
    data: Captioned,
    tokenizer: CLIPTokenizer,
    schedules: tuple[Schedule, Schedule],
    checkpoints: tuple[Path, Path],
    *,
    seed: int,
    device: str,
    progress: Progress,
) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """Trains noise prediction with caption dropout, first for crisp pictures, then for obeyed words.

    Args:
        data: latents and captions.
        tokenizer: the pipeline's.
        schedules: of the training with `min_snr_weights` and of the one with `high_noise_weights`.
        checkpoints: files of the two loops' states.
        seed: seeds weights and batches.
        device: where to train.
        progress: where to show bars.

    Returns:
        The averaged models.
    """
    seeded(seed)
    unet, text_encoder = build_unet(), build_text_encoder(tokenizer)
    both = nn.ModuleDict({"unet": unet, "text_encoder": text_encoder}).to(device)
    noising = DDPMScheduler.from_config(build_scheduler().config)
    unet.to(memory_format=torch.channels_last)

    def weighted_loss(weights: Tensor, step: int, generator: torch.Generator) -> Tensor:
        index = torch.randint(data.latents.shape[1], (BATCH,), generator=generator)
        side = torch.randint(2, (BATCH,), generator=generator)
        latents = data.latents[side, index].float()
        noise = torch.randn(latents.shape, generator=generator)
        # one timestep from each of BATCH equal intervals: the loss varies less from step to step
        spread = (torch.arange(BATCH) + torch.rand(BATCH, generator=generator)) / BATCH
        timesteps = (spread * len(weights)).long()
        embeddings = text_encoder(_drop_and_cut(data, index, generator).to(device)).last_hidden_state
        noisy = noising.add_noise(latents, noise, timesteps).contiguous(memory_format=torch.channels_last)
        output = unet(noisy.to(device), timesteps.to(device), embeddings).sample
        errors = (output - noise.to(device)).square().mean(dim=(1, 2, 3))
        return (weights[timesteps].to(device) * errors).mean()

    phases = (("diffusion", min_snr_weights), ("diffusion, words", high_noise_weights))
    for (name, weigh), schedule, checkpoint in zip(phases, schedules, checkpoints, strict=True):
        loss_of_step = partial(weighted_loss, weigh(noising.alphas_cumprod))
        train(name, both, loss_of_step, schedule, checkpoint, seed=seed, progress=progress)
    unet.to(memory_format=torch.contiguous_format)
    return unet.requires_grad_(False), text_encoder.requires_grad_(False)
