"""Generates pictures with the stock pipeline, the same wherever it runs."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from diffusers import StableDiffusionPipeline
from rich.progress import Progress
from torch import Tensor

from fairlit.functional.sampling.noise import keyed_noise
from fairlit_miniature.recipe import GUIDANCE, STEPS

CHUNK = 32


@dataclass
class Generator:
    """Generates with counter-based noise.

    Attributes:
        pipeline: the stock pipeline.
        progress: where to show bars.
        noise: first number of every noise key; another one for pictures that others must not share noise with.
        guidance: scale of classifier-free guidance.
        steps: solver steps.
    """

    pipeline: StableDiffusionPipeline
    progress: Progress
    noise: int = 77
    guidance: float = GUIDANCE
    steps: int = STEPS
    drawn: int = field(default=0, init=False)

    def __call__(self, name: str, prompts: list[str]) -> Tensor:
        """One picture for each prompt: float32 [N, 3, H, W] in 0-1."""
        bar = self.progress.add_task(name, total=len(prompts))
        self.pipeline.set_progress_bar_config(disable=True)
        parts = []
        for start in range(0, len(prompts), CHUNK):
            chunk = prompts[start : start + CHUNK]
            keys = [(self.noise, self.drawn + number) for number in range(len(chunk))]
            size = self.pipeline.unet.config.sample_size
            height, width = (size, size) if isinstance(size, int) else size
            parts.append(
                self.pipeline(
                    chunk,
                    num_inference_steps=self.steps,
                    guidance_scale=self.guidance,
                    latents=keyed_noise(keys, (4, height, width)).to(self.pipeline.device),
                    output_type="pt",
                ).images.cpu()
            )
            self.drawn += len(chunk)
            self.progress.update(bar, advance=len(chunk))
        return torch.cat(parts)
