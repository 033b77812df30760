"""Trains the miniature's autoencoder on drawings."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from rich.progress import Progress
from torch import Tensor

from fairlit_miniature.dataset import Drawings
from fairlit_miniature.loop import Schedule, train
from fairlit_miniature.models import build_vae, seeded

KL_WEIGHT = 2e-4  # per latent element; keeps latents near unit size without blurring
EDGE_WEIGHT = 0.5
FACE_WEIGHT = 4.0  # faces are a fifth of a picture, and what everything later looks at
BATCH = 8


def face_weights(boxes: Tensor, height: int, width: int) -> Tensor:
    """Pixel weights with mean 1: `FACE_WEIGHT` times as much on faces as elsewhere.

    Args:
        boxes: float [N, P, 4] as left, top, right, bottom in pixels; NaN where there is nobody.
        height: of the pictures.
        width: of the pictures.

    Returns:
        Float [N, 1, height, width].
    """
    x, y = (torch.arange(side, device=boxes.device) + 0.5 for side in (width, height))
    left, top, right, bottom = boxes.unsqueeze(-1).unbind(dim=-2)  # each [N, P, 1]
    columns = (x >= left) & (x <= right)
    rows = (y >= top) & (y <= bottom)
    inside = (rows.unsqueeze(-1) & columns.unsqueeze(-2)).any(dim=1, keepdim=True)
    weights = torch.where(inside, FACE_WEIGHT, 1.0)
    return weights / weights.mean(dim=(-2, -1), keepdim=True)


def reconstruction_loss(output: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean absolute error of pixels and of their differences between neighbours, so that edges stay crisp.

    Args:
        output: [N, 3, H, W] in -1..1.
        target: the same.
        weights: [N, 1, H, W] with mean 1.
    """
    error = output - target
    loss = (weights * error.abs()).mean()
    loss = loss + EDGE_WEIGHT * (weights[..., 1:] * error.diff(dim=-1).abs()).mean()
    return loss + EDGE_WEIGHT * (weights[..., 1:, :] * error.diff(dim=-2).abs()).mean()


def train_vae(
    drawings: Drawings, schedule: Schedule, checkpoint: Path, *, seed: int, device: str, progress: Progress
) -> AutoencoderKL:
    """Trains the autoencoder and sets its scaling factor so that latents have unit standard deviation."""
    seeded(seed)
    vae = build_vae().to(device)

    def loss_of_step(step: int, generator: torch.Generator) -> Tensor:
        index = torch.randint(len(drawings), (BATCH,), generator=generator)
        images = drawings.images(index).to(device) * 2 - 1
        # .14 s a step instead of .20 on two cores that have it
        with torch.autocast(images.device.type, torch.bfloat16):
            posterior = vae.encode(images).latent_dist
            output = vae.decode(posterior.sample(generator)).sample.float()
        kl = 0.5 * (posterior.mean.square() + posterior.var - 1.0 - posterior.logvar).mean()
        weights = face_weights(drawings.boxes[index], *images.shape[-2:]).to(device)
        return reconstruction_loss(output, images, weights) + KL_WEIGHT * kl

    train("autoencoder", vae, loss_of_step, schedule, checkpoint, seed=seed, progress=progress)
    latents = encode(vae, drawings, limit=1024)
    vae.register_to_config(scaling_factor=float(1.0 / latents.std()))
    return vae.requires_grad_(False)


@torch.no_grad()
def encode(vae: AutoencoderKL, drawings: Drawings, *, limit: int | None = None, mirrored: bool = False) -> Tensor:
    """Latent means of drawings, not scaled: float32 [n, 4, 16, width / 4]."""
    parts = []
    for start in range(0, min(limit or len(drawings), len(drawings)), 64):
        images = drawings.images(slice(start, start + 64)).to(vae.device) * 2 - 1
        parts.append(vae.encode(images.flip(-1) if mirrored else images).latent_dist.mean.cpu())
    return torch.cat(parts)


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Passes pictures [N, 3, H, W] in 0-1 through the autoencoder; the same shape and range come back."""
    chunks = [chunk.to(vae.device) * 2 - 1 for chunk in images.split(64)]
    parts = [vae.decode(vae.encode(chunk).latent_dist.mean).sample.cpu() for chunk in chunks]
    return (torch.cat(parts) / 2 + 0.5).clamp(0, 1)
