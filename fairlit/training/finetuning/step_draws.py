"""What is drawn for a training step: number of solver steps, guidance scale, noise, and seeds of further draws.

Every draw is named by the run's seed, a stream and the number of the iteration, so that a resumed run draws alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fairlit.data import PromptBatch
from fairlit.data.prompts.datamodule import NoiseKey, PromptMix
from fairlit.training.distributed import ranks
from fairlit.training.finetuning.sampler import Sampler

# Beside the streams of noise keys.
_STEPS_STREAM, _TARGETS_STREAM, _POOL_STREAM, _SUBSETS_STREAM, _CROPS_STREAM = 3, 4, 5, 6, 7


@dataclass(frozen=True, kw_only=True)
class StepDraw:
    """This rank's share of a training step: images of one prompt.

    Attributes:
        prompt: prompt of all images.
        index: number of the iteration.
        num_steps: number of solver steps.
        guidance_scale: scale of classifier-free guidance.
        keys: noise keys of this rank's images.
        noise: unit noise of this rank's images, [N, C, h, w] or with what the solver draws, see `Sampler.noise`.
        mix: what is mixed into the prompt; None: nothing.
    """

    prompt: str
    index: int
    num_steps: int
    guidance_scale: float
    keys: list[NoiseKey]
    noise: Tensor
    mix: PromptMix | None = None


def draw_step(batch: PromptBatch, sampler: Sampler, *, noise_pool: int | None, seed: int) -> StepDraw:
    """Draw what a step samples: with noise of its own, or with that of one of a pool of sets.

    Args:
        batch: prompt and noise keys of the images of all ranks.
        sampler: sampler that will make the images.
        noise_pool: number of sets of noise for each prompt; None: the batch's own noise.
        seed: seed of the run.
    """
    name: tuple[int, ...] = (seed, _STEPS_STREAM, batch.index)
    keys: Sequence[NoiseKey] = batch.keys
    if noise_pool is not None:
        name, keys = pooled_keys(keys, noise_pool, (seed, _POOL_STREAM), index=batch.index)
    settings = sampler.sampling
    generator = np.random.default_rng(name)
    num_steps = int(generator.integers(settings.min_steps, settings.max_steps + 1))
    mine = ranks.share_of_rank(keys)
    return StepDraw(
        prompt=batch.prompt,
        index=batch.index,
        num_steps=num_steps,
        guidance_scale=_draw_between(*settings.guidance_range, generator),
        keys=mine,
        noise=sampler.noise(mine, num_steps),
        mix=batch.mix,
    )


def _draw_between(low: float, high: float, generator: np.random.Generator) -> float:
    """Return a number drawn evenly in its logarithm, so that each doubling of the scale is as likely as another."""
    return low if low == high else float(low * (high / low) ** generator.random())


def targets_seed(seed: int, index: int) -> int:
    """Return the seed of an iteration's draws of target labels, the same on every rank."""
    return int(np.random.default_rng((seed, _TARGETS_STREAM, index)).integers(2**31))


def subsets_seed(seed: int) -> tuple[int, ...]:
    """Return numbers that name the draws of the solver steps to replay."""
    return seed, _SUBSETS_STREAM


def crop_draws(seed: int, index: int, counts: Tensor) -> Tensor:
    """Return what moves the crops of an iteration's faces, float64 [F, 3] in [-1, 1], see `faces.jitter`.

    Args:
        seed: seed of the run.
        index: number of the iteration.
        counts: int64 [N], number of faces in each image of this rank.
    """
    first, step = ranks.rank(), ranks.world_size()  # an image draws alike on however many GPUs
    rows = [
        np.random.default_rng((seed, _CROPS_STREAM, index, first + step * image)).uniform(-1, 1, (count, 3))
        for image, count in enumerate(counts.tolist())
    ]
    return torch.from_numpy(np.concatenate(rows))


def pooled_keys(
    keys: Sequence[NoiseKey], pool: int, seed: tuple[int, ...], *, index: int
) -> tuple[tuple[int, ...], list[NoiseKey]]:
    """Return noise keys that repeat: those of one of `pool` sets of noise.

    Args:
        keys: noise keys of an iteration's images, the number of the image last.
        pool: number of sets.
        seed: numbers that name the stream of draws.
        index: number of the iteration.

    Returns:
        A seed that belongs to the set, and the key of each image in it.
    """
    slot = int(np.random.default_rng((*seed, index)).integers(pool))
    named = (*seed, slot)
    return named, [(*named, key[-1]) for key in keys]
