"""Final latents of a training step with the gradient of the sampling chain, by whichever way is configured."""

from __future__ import annotations

import torch
from torch import Tensor

from fairlit.diffusion import Conditioning, Pairs, detached_graph, replay
from fairlit.functional.sampling.step_subsets import stratified_calls, subset_size
from fairlit.training.distributed import ranks
from fairlit.training.finetuning.micro_batch import even_micro_batch, largest_micro_batch
from fairlit.training.finetuning.sampler import Sampler, Samples
from fairlit.training.finetuning.settings import Gradient, Replay


class ChainGradient:
    """Attaches the gradient of the sampling chain to sampled latents.

    Args:
        sampler: what sampled them.
        gradient: how the gradient goes through the chain.
        settings: of the replay.
        fixed_shape: give every micro-batch the same size, for a compiled model.
        seed: of the subsets of steps; numbers that name them.

    Attributes:
        largest: most pairs in a micro-batch; found in the first step where it is not given.
    """

    def __init__(
        self, sampler: Sampler, gradient: Gradient, settings: Replay, fixed_shape: bool, seed: tuple[int, ...]
    ) -> None:
        self.sampler, self.gradient, self.settings = sampler, gradient, settings
        self.fixed_shape, self.seed = fixed_shape, seed
        self.largest: int | None = None if settings.micro_batch == "auto" else settings.micro_batch

    def attach(self, sampled: Samples, steps: int, noise: Tensor, conditioning: Conditioning, index: int) -> Tensor:
        """Final latents [N, C, h, w] with their gradient.

        Args:
            sampled: by `sampler`.
            steps: of the solver, as `sampled` had.
            noise: unit noise of the images [N, C, h, w].
            conditioning: of the adapted model.
            index: number of the iteration.
        """
        chain, weights = self.sampler.chain(steps), self.sampler.weights(steps)
        if sampled.rollout is None:
            return sampled.latents
        if self.gradient.mode == "published":
            return detached_graph(chain, noise, conditioning, weights)
        pairs = self._pairs(len(weights), len(noise), noise.device, index)
        inner = self.sampler.inner_parameters()
        if self.largest is None:
            budget = self.settings.memory_budget
            self.largest = largest_micro_batch(chain, sampled.rollout, conditioning, inner, budget)
        count = len(weights) * len(noise) if pairs is None else len(pairs.calls)
        return replay(
            chain,
            sampled.rollout,
            conditioning,
            weights,
            inner,
            micro_batch=self.largest if self.fixed_shape else even_micro_batch(count, self.largest),
            pairs=pairs,
            fixed_shape=self.fixed_shape,
        )

    def _pairs(self, num_evaluations: int, images: int, device: torch.device, index: int) -> Pairs | None:
        """The pairs to replay; None: all."""
        if self.settings.step_fraction == 1:
            return None
        size = subset_size(num_evaluations, self.settings.step_fraction)
        calls = stratified_calls(num_evaluations, size, images, (*self.seed, index, ranks.rank()))
        return Pairs.drawn(calls, num_evaluations, device)
