"""Trains the miniature's frozen judges of pictures: a CLIP on captions, a DINOv2 on pictures alone."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPModel, CLIPTokenizer, Dinov2Model

from fairlit_miniature.augment import jitter
from fairlit_miniature.caption_truth import CaptionTruth
from fairlit_miniature.loop import Schedule, train
from fairlit_miniature.models import build_clip, build_dino, seeded
from fairlit_miniature.training_diffusion import tokenize

BATCH = 96
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
TEMPERATURE = 0.1


def normalise(images: Tensor) -> Tensor:
    """Pictures in 0-1 as the encoders take them; the same mean and deviation are saved in their processors."""
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    return (images - mean) / std


def contrastive_loss(logits: Tensor, same: Tensor) -> Tensor:
    """Cross-entropy both ways where several columns may be right.

    Args:
        logits: similarities over temperature, [N, N]; rows are one view, columns the other.
        same: bool [N, N], which pairs belong together; the diagonal is true.
    """
    targets = same.float()
    rows = F.cross_entropy(logits, targets / targets.sum(dim=1, keepdim=True))
    columns = F.cross_entropy(logits.T, targets.T / targets.T.sum(dim=1, keepdim=True))
    return 0.5 * (rows + columns)


def train_clip(
    pixels: Tensor,
    truth: CaptionTruth,
    tokenizer: CLIPTokenizer,
    *,
    schedule: Schedule,
    checkpoint: Path,
    seed: int,
    device: str,
    progress: Progress,
) -> CLIPModel:
    """Trains a CLIP; a picture and every caption in the batch that is true of it belong together.

    A third of the captions say nothing of what people do, but how they look: without them occupations alone would tell
    pictures apart.

    Args:
        pixels: uint8 [2, N, 3, 64, 64]: drawings as drawn and as they come out of the autoencoder.
        truth: captions of the N pictures.
        tokenizer: the pipeline's.
        schedule: length and learning rate.
        checkpoint: file of the loop's state.
        seed: seeds weights and batches.
        device: where to train.
        progress: where to show a bar.
    """
    seeded(seed)
    clip = build_clip(tokenizer).to(device)
    tokens = torch.stack([tokenize(tokenizer, texts) for texts in truth.texts])

    def loss_of_step(step: int, generator: torch.Generator) -> Tensor:
        index = torch.randint(tokens.shape[1], (BATCH,), generator=generator)
        side = torch.randint(2, (BATCH,), generator=generator)
        images = jitter(pixels[side, index].float() / 255.0, generator)
        kinds = torch.randint(len(tokens), (BATCH,), generator=generator)
        batch = tokens[kinds, index]
        length = int((batch != tokenizer.pad_token_id).sum(dim=1).max()) + 1
        output = clip(input_ids=batch[:, :length].to(device), pixel_values=normalise(images).to(device))
        return contrastive_loss(output.logits_per_image, truth.matches(index, kinds).to(device))

    train("CLIP", clip, loss_of_step, schedule, checkpoint, seed=seed, progress=progress)
    return clip.requires_grad_(False)


def train_dino(
    pixels: Tensor, schedule: Schedule, checkpoint: Path, *, seed: int, device: str, progress: Progress
) -> Dinov2Model:
    """Trains a DINOv2 encoder to know two views of one drawing, one of them passed through the autoencoder.

    The objective is NT-Xent (Chen et al. 2020, arXiv 2002.05709): self-distillation needs far more steps.

    Args:
        pixels: uint8 [2, N, 3, 64, 64], as for `train_clip`.
        schedule: length and learning rate.
        checkpoint: file of the loop's state.
        seed: seeds weights and batches.
        device: where to train.
        progress: where to show a bar.
    """
    seeded(seed)
    dino = build_dino()
    head = nn.Sequential(nn.Linear(dino.config.hidden_size, 128), nn.GELU(), nn.Linear(128, 64))

    def features(images: Tensor) -> Tensor:
        return F.normalize(head(dino(normalise(images).to(device)).last_hidden_state[:, 0]), dim=-1)

    def loss_of_step(step: int, generator: torch.Generator) -> Tensor:
        index = torch.randint(pixels.shape[1], (BATCH,), generator=generator)
        first, second = (features(jitter(pixels[side, index].float() / 255.0, generator)) for side in (0, 1))
        same = index[:, None] == index[None]
        return contrastive_loss(first @ second.T / TEMPERATURE, same.to(device))

    both = nn.ModuleDict({"dino": dino, "head": head}).to(device)
    train("DINO", both, loss_of_step, schedule, checkpoint, seed=seed, progress=progress)
    return dino.requires_grad_(False)
