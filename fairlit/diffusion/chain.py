"""A sampling chain: a denoiser, a solver and guidance, bound together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fairlit.functional.sampling.guidance import classifier_free_guidance
from fairlit.functional.sampling.solver import LinearSolver

EncodedPrompts = Mapping[str, Tensor]
"""What a model reads of prompts: tensors [P, ...] by the names that stock pipelines give them, as prompt_embeds."""

Denoiser = Callable[[Tensor, Tensor, EncodedPrompts], Tensor]
"""(states [M, C, h, w], timesteps [M], prompts [M, ...]) -> outputs [M, C, h, w]."""


@dataclass(frozen=True)
class Conditioning:
    """What each image is asked to show.

    Attributes:
        prompts: tensors [P, ...], each distinct prompt once, unconditional ones among them.
        rows: LongTensor [N], the row of each image's prompt.
        unconditional: LongTensor [N], the row of the unconditional prompt that guides each image.
    """

    prompts: EncodedPrompts
    rows: Tensor
    unconditional: Tensor

    @classmethod
    def of_one_prompt(cls, prompts: EncodedPrompts, count: int) -> Conditioning:
        """Return the second of two `prompts` for `count` images, the first being the unconditional one."""
        return cls.of_prompts(prompts, torch.ones(count, dtype=torch.long))

    @classmethod
    def of_prompts(cls, prompts: EncodedPrompts, rows: Tensor) -> Conditioning:
        """Return several prompts: `rows` of `prompts` [P, ...], the first of which is the unconditional one."""
        rows = rows.to(next(iter(prompts.values())).device)
        return cls(prompts, rows, torch.zeros_like(rows))

    @classmethod
    def join(cls, first: Conditioning, second: Conditioning) -> Conditioning:
        """Return the images of both, one after the other; their tensors must be of one shape but for P."""
        shift = len(next(iter(first.prompts.values())))
        return cls(
            concatenate(first.prompts, second.prompts),
            torch.cat([first.rows, second.rows + shift]),
            torch.cat([first.unconditional, second.unconditional + shift]),
        )

    @property
    def leaves(self) -> dict[str, Tensor]:
        """The tensors that may carry a gradient: those of floating point, always in the same order."""
        return {name: tensor for name, tensor in self.prompts.items() if tensor.is_floating_point()}

    def with_leaves(self, tensors: Iterable[Tensor]) -> Conditioning:
        """Return the same prompts for the same images with other tensors in the places of `leaves`."""
        replaced = dict(zip(self.leaves, tensors, strict=True))
        return Conditioning({**self.prompts, **replaced}, self.rows, self.unconditional)

    def detached(self) -> Conditioning:
        """Return the same values as leaves of graphs to come, which require a gradient where the tensors here do."""
        return self.with_leaves(tensor.detach().requires_grad_(tensor.requires_grad) for tensor in self.leaves.values())

    def same_shapes(self, other: Conditioning) -> bool:
        """Return whether `join` can put both into one batch."""
        shapes = [{name: tensor.shape for name, tensor in each.prompts.items()} for each in (self, other)]
        return shapes[0] == shapes[1]


def select(prompts: EncodedPrompts, rows: Tensor) -> dict[str, Tensor]:
    """Return the prompts of some rows: tensors [M, ...].

    Args:
        prompts: tensors [P, ...].
        rows: LongTensor [M].
    """
    return {name: tensor[rows] for name, tensor in prompts.items()}


def concatenate(first: EncodedPrompts, second: EncodedPrompts) -> dict[str, Tensor]:
    """Return the prompts of both, one after the other."""
    return {name: torch.cat([tensor, second[name]]) for name, tensor in first.items()}


@dataclass(frozen=True)
class Chain:
    """Everything that fixes a sampling chain but its noise and its prompts.

    Attributes:
        denoise: the model.
        solver: the scheduler as a linear map.
        guidance_scale: of classifier-free guidance; up to 1 there is none, as in diffusers: the unconditional branch is
            not computed, and the scale is taken for 1.
    """

    denoise: Denoiser
    solver: LinearSolver
    guidance_scale: float = 7.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "guidance_scale", max(self.guidance_scale, 1.0))

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
        conditional = select(conditioning.prompts, conditioning.rows[images])
        if self.guidance_scale == 1:
            return self.denoise(inputs, timesteps, conditional).to(states.dtype)
        unconditional = select(conditioning.prompts, conditioning.unconditional[images])
        outputs = self.denoise(
            torch.cat([inputs, inputs]), torch.cat([timesteps, timesteps]), concatenate(unconditional, conditional)
        ).to(states.dtype)
        without, guided = outputs.chunk(2)
        return classifier_free_guidance(without, guided, self.guidance_scale)
