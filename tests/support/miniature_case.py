"""The embedded model with an adaptor and a chain, for tests of the memory that its gradient takes."""

from __future__ import annotations

import copy
from pathlib import Path

import torch

from fairlit.adaptors import Lora
from fairlit.diffusion import Backbone, Chain, Conditioning, replay, rollout
from fairlit.functional.sampling.solver import linear_solver

PIPELINE = Path(__file__).parents[2] / "checkpoints" / "miniature" / "pipeline"


class Case:
    """The miniature with a LoRA in both parts, and a rollout."""

    def __init__(self, steps: int = 3, images: int = 2) -> None:
        self.backbone = Backbone.load(PIPELINE)
        self.adaptor = Lora(rank=2, text_encoder=True, unet=True)
        self.adaptor.attach(self.backbone)
        self.chain = self._make_chain(steps)
        self.inner = [parameter for parameter in self.backbone.unet.parameters() if parameter.requires_grad]
        self.noise = torch.randn(images, *self.backbone.latent_shape(), generator=torch.Generator().manual_seed(0))

    def of_steps(self, steps: int) -> Case:
        """The same with another number of steps; the model is shared."""
        other = copy.copy(self)
        other.chain = self._make_chain(steps)
        return other

    def _make_chain(self, steps: int) -> Chain:
        return Chain(self.backbone, linear_solver(self.backbone.scheduler, steps), 3.0)

    def conditioning(self) -> Conditioning:
        return Conditioning.of_one_prompt(self.backbone.encode(["", "a photo of a doctor"]), len(self.noise))

    def step(self, micro_batch: int) -> None:
        """Sampling and replay."""
        conditioning = self.conditioning()
        sampled = rollout(self.chain, self.noise, conditioning)
        weights = torch.ones(len(sampled.states))
        latents = replay(self.chain, sampled, conditioning, weights, self.inner, micro_batch=micro_batch)
        torch.autograd.grad(latents.sum(), list(self.adaptor.parameters().values()), allow_unused=True)
