"""A sampling chain: a denoiser, a solver and guidance, bound together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fairlit.functional.sampling.guidance import classifier_free_guidance
from fairlit.functional.sampling.solver import LinearSolver

Denoiser = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(states [M, C, h, w], timesteps [M], embeddings [M, L, D]) -> outputs [M, C, h, w]."""


@dataclass(frozen=True)
class Conditioning:
    """What each image is asked to show.

    Attributes:
        embeddings: [P, L, D], each distinct prompt once, unconditional ones among them.
        rows: LongTensor [N], the row of each image's prompt.
        unconditional: LongTensor [N], the row of the unconditional prompt that guides each image.
    """

    embeddings: Tensor
    rows: Tensor
    unconditional: Tensor

    @classmethod
    def of_one_prompt(cls, embeddings: Tensor, count: int) -> Conditioning:
        """Return the second of two `embeddings` for `count` images, the first being the unconditional one."""
        return cls.of_prompts(embeddings, torch.ones(count, dtype=torch.long))

    @classmethod
    def of_prompts(cls, embeddings: Tensor, rows: Tensor) -> Conditioning:
        """Return several prompts: `rows` of `embeddings` [P, L, D], the first of which is the unconditional one."""
        rows = rows.to(embeddings.device)
        return cls(embeddings, rows, torch.zeros_like(rows))

    @classmethod
    def join(cls, first: Conditioning, second: Conditioning) -> Conditioning:
        """Return the images of both, one after the other; their embeddings must be of one length L."""
        shift = len(first.embeddings)
        return cls(
            torch.cat([first.embeddings, second.embeddings]),
            torch.cat([first.rows, second.rows + shift]),
            torch.cat([first.unconditional, second.unconditional + shift]),
        )

    def with_embeddings(self, embeddings: Tensor) -> Conditioning:
        """Return the same prompts for the same images, embedded otherwise."""
        return Conditioning(embeddings, self.rows, self.unconditional)


@dataclass(frozen=True)
class Chain:
    """Everything that fixes a sampling chain but its noise and its prompts.

    Attributes:
        denoise: the model.
        solver: the scheduler as a linear map.
        guidance_scale: of classifier-free guidance; at 1 the unconditional branch is not computed.
    """

    denoise: Denoiser
    solver: LinearSolver
    guidance_scale: float = 7.5

    def predict(self, states: Tensor, evaluations: Tensor, conditioning: Conditioning, images: Tensor) -> Tensor:
        """Return the guided model output for any mix of images and evaluations in one batch.

        Args:
            states: x_t [M, C, h, w] as the solver keeps them.
            evaluations: LongTensor [M], the evaluation t of each state.
            conditioning: the prompts.
            images: LongTensor [M], the image that each state belongs to.

        Returns:
            [M, C, h, w].
        """
        scale = self.solver.input_scale.to(states)[evaluations]
        timesteps = self.solver.timesteps.to(states.device)[evaluations]  # both are there after `LinearSolver.to`
        inputs = states * scale[:, None, None, None]
        conditional = conditioning.embeddings[conditioning.rows[images]]
        if self.guidance_scale == 1.0:
            return self.denoise(inputs, timesteps, conditional).to(states.dtype)
        unconditional = conditioning.embeddings[conditioning.unconditional[images]]
        outputs = self.denoise(
            torch.cat([inputs, inputs]), torch.cat([timesteps, timesteps]), torch.cat([unconditional, conditional])
        ).to(states.dtype)
        without, guided = outputs.chunk(2)
        return classifier_free_guidance(without, guided, self.guidance_scale)
