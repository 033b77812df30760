"""Final latents of a training step with the gradient of the sampling chain, by whichever way is configured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fairlit.diffusion import Conditioning, Pairs, detached_graph, replay
from fairlit.diffusion.kept_activations import KeptActivations
from fairlit.functional.sampling.step_subsets import stratified_evaluations, subset_size
from fairlit.training.distributed import ranks
from fairlit.training.finetuning.kept_pairs import keep_budget, kept_pairs
from fairlit.training.finetuning.micro_batch import even_micro_batch, largest_micro_batch
from fairlit.training.finetuning.sampler import Sampler, Samples
from fairlit.training.finetuning.settings import Gradient, Replay
from fairlit.training.finetuning.step_draws import StepDraw


class ChainGradient:
    """Attaches the gradient of the sampling chain to sampled latents.

    Args:
        sampler: sampler that made them.
        gradient: how the gradient goes through the chain.
        settings: settings of the replay.
        fixed_shape: whether every micro-batch gets the same size, for a compiled model.
        sharded: whether processes hold shards of the model.
        seed: numbers that name the draws of subsets of steps.

    Attributes:
        largest: most pairs in a micro-batch; found in the first step where it is not given.
        kept: number of pairs whose activations each rank keeps from sampling; found in the first step, None before.
    """

    def __init__(
        self,
        sampler: Sampler,
        gradient: Gradient,
        settings: Replay,
        *,
        fixed_shape: bool,
        sharded: bool,
        seed: tuple[int, ...],
    ) -> None:
        self.sampler, self.gradient, self.settings = sampler, gradient, settings
        self.fixed_shape, self.seed = fixed_shape, seed
        self.largest: int | None = None if settings.micro_batch == "auto" else settings.micro_batch
        self.kept: int | None = 0 if fixed_shape or sharded else None

    def keep(self, draw: StepDraw, conditioning: Conditioning) -> KeptActivations | None:
        """Return what keeps activations while the images are sampled; None: nothing does. Every rank calls this.

        Args:
            draw: what is to be sampled.
            conditioning: the prompt as the adapted model reads it.
        """
        if self.kept is None:
            self.kept = self._count_kept(draw, conditioning)
        if self.kept == 0:
            return None
        evaluations, images = len(self.sampler.weights(draw.num_steps)), len(draw.noise)
        pairs = self._pairs(evaluations, draw) or Pairs.all(evaluations, images, draw.noise.device)
        return KeptActivations.first(
            self.kept, pairs.evaluations, pairs.images, shape=(evaluations, images), conditioning=conditioning
        )

    def _count_kept(self, draw: StepDraw, conditioning: Conditioning) -> int:
        budget = keep_budget(self.gradient, self.settings, draw.noise.device.type)
        if budget == 0:
            return 0
        batch_size = self.sampler.sampling.batch_size
        chain = self.sampler.chain(draw.num_steps, draw.guidance_scale)
        found = kept_pairs(chain, draw.noise, conditioning, budget=budget, max_batch=batch_size)
        # One number for all ranks: a checkpoint has that of the first alone.
        return ranks.smallest(found, draw.noise.device)

    def state_dict(self) -> dict[str, float | str | int | None]:
        """Return what was found in the first step, so that a resumed run adds gradients in the same order."""
        return {"keep": self.settings.keep, "kept": self.kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave, unless the setting has changed since."""
        if self.kept is None and state.get("keep") == self.settings.keep:
            self.kept = state.get("kept")

    def attach(self, sampled: Samples, draw: StepDraw, conditioning: Conditioning) -> Tensor:
        """Return final latents [N, C, h, w] with their gradient.

        Args:
            sampled: samples that `sampler` made.
            draw: what they were sampled from.
            conditioning: the prompt as the adapted model reads it.
        """
        chain, weights = self.sampler.chain(draw.num_steps, draw.guidance_scale), self.sampler.weights(draw.num_steps)
        if sampled.rollout is None:
            return sampled.latents
        if self.gradient.mode == "published":
            return detached_graph(chain, draw.noise, conditioning, weights=weights)
        pairs = self._pairs(len(weights), draw)
        inner = self.sampler.inner_parameters()
        if self.largest is None:
            budget = self.settings.memory_budget
            self.largest = largest_micro_batch(chain, sampled.rollout, conditioning, parameters=inner, budget=budget)
        count = len(weights) * len(draw.noise) if pairs is None else len(pairs.evaluations)
        if (kept := sampled.rollout.kept) is not None:
            count -= kept.count
        return replay(
            chain,
            sampled.rollout,
            conditioning,
            weights,
            inner,
            micro_batch=self.largest if self.fixed_shape else even_micro_batch(max(count, 1), self.largest),
            pairs=pairs,
            fixed_shape=self.fixed_shape,
        )

    def _pairs(self, num_evaluations: int, draw: StepDraw) -> Pairs | None:
        """Return the pairs to replay; None: all."""
        if self.settings.step_fraction == 1:
            return None
        size = subset_size(num_evaluations, self.settings.step_fraction)
        seed = (*self.seed, draw.index, ranks.rank())
        evaluations = stratified_evaluations(num_evaluations, size, len(draw.noise), seed=seed)
        return Pairs.drawn(evaluations, num_evaluations, draw.noise.device)
