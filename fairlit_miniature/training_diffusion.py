"""Trains the miniature's U-Net on the latents of captioned drawings, under its frozen text encoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from rich.progress import Progress
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from fairlit_miniature.canvas import SIZE
from fairlit_miniature.loop import Schedule, train
from fairlit_miniature.models import build_scheduler
from fairlit_miniature.training_vae import face_weights
from fairlit_miniature.world import Scene, captions

BATCH = 32
CAPTION_SHARES = (0.36, 0.27, 0.27, 0.1)  # of the three captions of a picture, and of none, for guidance
NOISY_SHARE = 0.25
HAIR = 0.3  # around a face, in widths of it
SCALE = 4  # pixels a latent
SNR_LIMIT = 5.0


@dataclass(frozen=True)
class Captioned:
    """What the diffusion model learns from.

    Attributes:
        latents: scaled latent means, float16 [2, N, 4, 16, w]: as drawn, and mirrored.
        weights: of each latent pixel's error, float [N, 1, 16, w], mean 1; see `head_weights`.
        tokens: tokens of what each may be called, the `world.captions` and then the empty caption, padded to the
            tokenizer's length, int64 [4, N, T].
    """

    latents: Tensor
    weights: Tensor
    tokens: Tensor


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


def caption_tokens(tokenizer: CLIPTokenizer, scenes: list[Scene]) -> Tensor:
    """Tokens of what each scene may be called, then of the empty caption: int64 [4, N, T]."""
    kinds = zip(*((*captions(scene), "") for scene in scenes), strict=True)
    return torch.stack([tokenize(tokenizer, list(texts)) for texts in kinds])


def loss_weights(alphas_cumprod: Tensor) -> Tensor:
    """Weights of the squared error of v per timestep, which weigh the error of the clean latents by min(SNR + 1, 6).

    The limit is Min-SNR's (Hang et al. 2023, arXiv 2303.09556). The 1, which a loss on v has by itself, keeps high
    noise in the sum: there it is decided who is in a picture.

    Args:
        alphas_cumprod: the schedule's, [T].
    """
    snr = alphas_cumprod / (1.0 - alphas_cumprod)
    return (snr + 1.0).clamp(max=SNR_LIMIT + 1.0) / (snr + 1.0)


def head_weights(boxes: Tensor, picture_width: int = SIZE) -> Tensor:
    """Weights of latent pixels, mean 1: `training_vae.FACE_WEIGHT` times as much on heads, hair included, as elsewhere.

    What a word such as "female" or "dark-skinned" changes covers a tenth of a picture; what "miner" does, all of it.

    Args:
        boxes: faces, float [N, P, 4] as left, top, right, bottom in pixels; NaN where there is nobody.
        picture_width: in pixels.

    Returns:
        Float [N, 1, 16, picture_width / 4].
    """
    width = (boxes[..., 2] - boxes[..., 0]).unsqueeze(-1)
    hair = HAIR * width * torch.tensor([-1.0, -1.0, 1.0, 1.0])
    return face_weights((boxes + hair) / SCALE, SIZE // SCALE, picture_width // SCALE)


def sample_timesteps(count: int, total: int, generator: torch.Generator) -> Tensor:
    """Timesteps of a batch: half of them spread over all, the other half over the noisiest quarter.

    Spread: one from each of equal intervals, so that the loss varies less from step to step. The noisiest quarter is
    where people are not yet decided, and where a solver of few steps takes its first ones.

    Returns:
        int64 [count] in 0 .. total - 1.
    """
    half = count // 2
    everywhere = (torch.arange(half) + torch.rand(half, generator=generator)) / half
    noisiest = (torch.arange(count - half) + torch.rand(count - half, generator=generator)) / (count - half)
    return (torch.cat([everywhere, 1.0 - NOISY_SHARE * (1.0 - noisiest)]) * total).long()


def draw_captions(texts: Tensor, index: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Captions of a batch, one a picture; padded to the longest of the batch in every other batch.

    Args:
        texts: tokens of what each picture may be called, `caption_tokens`, int64 [4, N, T].
        index: of the pictures in the batch, int64 [n].
        generator: draws which caption.

    Returns:
        Tokens, int64 [n, T]; and which caption of `texts` each is, int64 [n].
    """
    kinds = torch.multinomial(torch.tensor(CAPTION_SHARES), len(index), replacement=True, generator=generator)
    tokens = texts[kinds, index]
    if torch.rand((), generator=generator) < 0.5:
        padding = tokens[0, -1]
        longest = int((tokens != padding).sum(dim=1).max()) + 1
        tokens = tokens[:, :longest]
    return tokens, kinds


def train_diffusion(
    unet: UNet2DConditionModel,
    data: Captioned,
    text_encoder: CLIPTextModel,
    *,
    schedule: Schedule,
    checkpoint: Path,
    seed: int,
    device: str,
    progress: Progress,
) -> UNet2DConditionModel:
    """Trains a U-Net with caption dropout.

    Args:
        unet: a new one, or one that knows other pictures.
        data: latents and captions.
        text_encoder: frozen, as Stable Diffusion's is.
        schedule: length and learning rate.
        checkpoint: file of the loop's state.
        seed: seeds batches.
        device: where to train.
        progress: where to show bars.

    Returns:
        The averaged model.
    """
    unet.to(device, memory_format=torch.channels_last).requires_grad_(True)
    noising = DDPMScheduler.from_config(build_scheduler().config)
    weights = loss_weights(noising.alphas_cumprod)

    def loss_of_step(step: int, generator: torch.Generator) -> Tensor:
        index = torch.randint(data.latents.shape[1], (BATCH,), generator=generator)
        side = torch.randint(2, (BATCH,), generator=generator)
        latents = data.latents[side, index].float()
        noise = torch.randn(latents.shape, generator=generator)
        timesteps = sample_timesteps(BATCH, len(weights), generator)
        with torch.no_grad():
            tokens, _ = draw_captions(data.tokens, index, generator)
            embeddings = text_encoder(tokens.to(device)).last_hidden_state
        noisy = noising.add_noise(latents, noise, timesteps).contiguous(memory_format=torch.channels_last)
        wanted = noising.get_velocity(latents, noise, timesteps)
        output = unet(noisy.to(device), timesteps.to(device), embeddings).sample
        errors = (data.weights[index].to(device) * (output - wanted.to(device)).square()).mean(dim=(1, 2, 3))
        return (weights[timesteps].to(device) * errors).mean()

    train("diffusion", unet, loss_of_step, schedule, checkpoint, seed=seed, progress=progress)
    unet.to(memory_format=torch.contiguous_format)
    return unet.requires_grad_(False)
