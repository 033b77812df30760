"""A backbone with an adaptor, a chain and a loss, for tests of gradients of sampling chains."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    StableDiffusionPipeline,
)
from torch import Tensor

from fairlit.adaptors import Adaptor, Lora, SoftTokens
from fairlit.diffusion import Backbone, Chain, Conditioning, Rollout, replay, rollout
from fairlit.functional.sampling.solver import linear_solver

SCHEDULE: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SCHEDULERS = {
    "dpm": DPMSolverMultistepScheduler(**SCHEDULE),
    "dpm-v": DPMSolverMultistepScheduler(**SCHEDULE, prediction_type="v_prediction"),
    "ddim": DDIMScheduler(**SCHEDULE, clip_sample=False),
    "euler": EulerDiscreteScheduler(**SCHEDULE),
    "euler ancestral": EulerAncestralDiscreteScheduler(**SCHEDULE),
    "lcm": LCMScheduler(**SCHEDULE),
}
ADAPTORS: dict[str, Callable[[], Adaptor]] = {
    "text encoder": lambda: Lora(rank=2, text_encoder=True, unet=False),
    "unet": lambda: Lora(rank=2, text_encoder=False, unet=True),
    "both": lambda: Lora(rank=2, text_encoder=True, unet=True),
    "soft tokens": lambda: SoftTokens(count=2),
}
STEPS, IMAGES = 4, 3


class Setup:
    """A backbone with a perturbed adaptor, a chain, noise and a nonlinear loss."""

    def __init__(self, pipeline: StableDiffusionPipeline, adaptor: str, scheduler: str, dtype: torch.dtype) -> None:
        self.backbone = Backbone(pipeline).to(dtype)
        self.adaptor = ADAPTORS[adaptor]()
        self.adaptor.attach(self.backbone)
        self.backbone.to(dtype)
        generator = torch.Generator().manual_seed(1)
        for parameter in self.adaptor.parameters().values():  # LoRA starts at zero, where half its gradient vanishes
            parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator).to(dtype)
        self.scheduler = SCHEDULERS[scheduler]
        self.chain = self.make_chain(STEPS)
        shape = (IMAGES, *self.backbone.latent_shape())
        fresh = self.chain.solver.num_fresh
        drawn = (shape[0], 1 + fresh, *shape[1:]) if fresh else shape
        self.noise = torch.randn(drawn, generator=generator).to(dtype)
        self.mixing = torch.randn(shape, generator=generator).to(dtype)
        self.parameters = list(self.adaptor.parameters().values())
        self.inner = [p for n, p in self.backbone.unet.named_parameters() if p.requires_grad]

    def make_chain(self, steps: int) -> Chain:
        return Chain(self.backbone, linear_solver(self.scheduler, steps), guidance_scale=3.0)

    def conditioning(self) -> Conditioning:
        prompts = ["", self.adaptor.adapt_prompt("a photo of the face of a doctor")]
        return Conditioning.of_one_prompt(self.backbone.encode(prompts), IMAGES)

    def loss(self, latents: Tensor) -> Tensor:
        return (torch.tanh(latents) * self.mixing).sum() + 0.1 * (latents**2).sum()

    def gradient(self, latents: Tensor) -> Tensor:
        return torch.cat([g.flatten() for g in torch.autograd.grad(self.loss(latents), self.parameters)])

    @cached_property
    def sampled(self) -> Rollout:
        """One rollout for all replays of the same adaptor."""
        return rollout(self.chain, self.noise, self.conditioning())

    def replayed(self, weights: Tensor, micro_batch: int) -> Tensor:
        latents = replay(self.chain, self.sampled, self.conditioning(), weights, self.inner, micro_batch=micro_batch)
        return self.gradient(latents)


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())
