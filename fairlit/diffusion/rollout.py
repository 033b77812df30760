"""Sampling: the whole chain, without gradient or with the gradient of the chain itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fairlit.diffusion.chain import Chain, Conditioning
from fairlit.diffusion.kept_activations import KeptActivations


@dataclass(frozen=True)
class Rollout:
    """One finished sampling run.

    Attributes:
        latents: final latents x_S [N, C, h, w].
        states: x_0..x_{S-1} [S, N, C, h, w], what the model was given; a few MB.
        kept: evaluations whose activations were kept; None: of no evaluation.
    """

    latents: Tensor
    states: Tensor
    kept: KeptActivations | None = None

    def split(self, count: int) -> tuple[Rollout, Rollout]:
        """Return the first `count` images, with what is kept, and the rest."""
        first = Rollout(self.latents[:count], self.states[:, :count], self.kept)
        return first, Rollout(self.latents[count:], self.states[:, count:])


@torch.no_grad()
def rollout(
    chain: Chain,
    noise: Tensor,
    conditioning: Conditioning,
    max_batch: int | None = None,
    *,
    keep: KeptActivations | None = None,
) -> Rollout:
    """Sample N images without gradient and keep the states.

    Args:
        chain: denoiser, solver and guidance.
        noise: unit noise [N, C, h, w], or all that the solver draws, see `LinearSolver.draws`.
        conditioning: prompts of the N images.
        max_batch: at most so many images go through the model at once; None: all.
        keep: evaluations of the first images whose activations are kept for `replay`; None: of no evaluation.
    """
    outputs: list[Tensor] = []
    states: list[Tensor] = []
    max_batch = max_batch or max(len(noise), 1)
    for evaluation in range(chain.solver.num_evaluations):
        state = chain.solver.state(evaluation, noise, outputs)
        output = torch.empty_like(state)
        others = torch.ones(len(noise), dtype=torch.bool)
        if keep is not None:
            others[keep.images(evaluation)] = False
            for images in _batches(keep.images(evaluation), max_batch, noise.device):
                output[images] = keep.predict(chain, state[images], evaluation, images=images)
        for images in _batches(others.nonzero().flatten(), max_batch, noise.device):
            evaluations = torch.full_like(images, evaluation)
            output[images] = chain.predict(state[images], evaluations, conditioning, images)
        outputs.append(output)
        states.append(state)
    return Rollout(chain.solver.state(chain.solver.num_evaluations, noise, outputs), torch.stack(states), keep)


def _batches(images: Tensor, size: int, device: torch.device) -> Iterator[Tensor]:
    if len(images):  # torch splits nothing into one empty part
        for chunk in images.split(size):
            yield chunk.to(device)


def detached_graph(
    chain: Chain, noise: Tensor, conditioning: Conditioning, *, weights: Tensor, checkpointing: bool = True
) -> Tensor:
    """Sample with the adjusted gradient as a graph: every model evaluation, each on a detached input.

    What the published code does; `replay` computes the same gradient in less memory and is checked against this.

    Args:
        chain: denoiser, solver and guidance.
        noise: unit noise [N, C, h, w], or all that the solver draws, see `LinearSolver.draws`.
        conditioning: prompts of the N images.
        weights: factor on the cotangent of each model output [S], see `functional.sampling.solver.output_weights`.
        checkpointing: recompute each evaluation in the backward pass instead of keeping its activations.

    Returns:
        Final latents [N, C, h, w]; their gradient is sum_t w_t J_t^T g (Shen et al., ICLR 2024, section 4.2).
    """
    outputs: list[Tensor] = []
    through = torch.zeros_like(chain.solver.draws(noise)[0])
    for evaluation, weight in enumerate(weights.tolist()):
        state = chain.solver.state(evaluation, noise, outputs)
        output = _evaluate(chain, state, evaluation, conditioning=conditioning, checkpointing=checkpointing)
        outputs.append(output.detach())
        through = through + weight * (output - output.detach())
    return chain.solver.state(chain.solver.num_evaluations, noise, outputs) + through


def full_graph(
    chain: Chain,
    noise: Tensor,
    conditioning: Conditioning,
    *,
    last_evaluations: int | None = None,
    checkpointing: bool = True,
) -> Tensor:
    """Sample with the true gradient of the chain, through every model evaluation into the one before.

    Args:
        chain: denoiser, solver and guidance.
        noise: unit noise [N, C, h, w], or all that the solver draws, see `LinearSolver.draws`.
        conditioning: prompts of the N images.
        last_evaluations: number K of evaluations, counted from the end, that the gradient reaches (DRaFT-K; Clark et
            al., ICLR 2024); None: all.
        checkpointing: recompute each evaluation in the backward pass instead of keeping its activations.

    Returns:
        Final latents [N, C, h, w].
    """
    first = 0 if last_evaluations is None else max(chain.solver.num_evaluations - last_evaluations, 0)
    outputs: list[Tensor] = []
    for evaluation in range(chain.solver.num_evaluations):
        with torch.set_grad_enabled(torch.is_grad_enabled() and evaluation >= first):
            state = chain.solver.state(evaluation, noise, outputs)
            outputs.append(_evaluate(chain, state, evaluation, conditioning=conditioning, checkpointing=checkpointing))
    return chain.solver.state(chain.solver.num_evaluations, noise, outputs)


def _evaluate(
    chain: Chain, state: Tensor, evaluation: int, *, conditioning: Conditioning, checkpointing: bool
) -> Tensor:
    images = torch.arange(len(state), device=state.device)
    evaluations = torch.full_like(images, evaluation)
    if not checkpointing:
        return chain.predict(state, evaluations, conditioning, images)

    def predict(state: Tensor, *leaves: Tensor) -> Tensor:
        return chain.predict(state, evaluations, conditioning.with_leaves(leaves), images)

    return checkpoint(predict, state, *conditioning.leaves.values(), use_reentrant=False)
