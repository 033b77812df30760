"""The replay: the adjusted gradient of a sampling chain, one model evaluation at a time.

The adjusted gradient detaches the input of every model evaluation, so the S vector-Jacobian products do not depend
on each other and share one cotangent g = dL/dx_S. So the chain is sampled once without gradient, the losses give g,
and every (image, evaluation) pair is then repeated on its own, with gradient, in batches of any size. Memory is that of
one batch, whatever S is, and a random part of the pairs gives an unbiased estimate for a part of the time. Pairs whose
activations the rollout has kept need no repetition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fairlit.diffusion.chain import Chain, Conditioning
from fairlit.diffusion.kept_activations import KeptEvaluation
from fairlit.diffusion.out_of_memory import is_out_of_memory
from fairlit.diffusion.rollout import Rollout


@dataclass(frozen=True)
class Pairs:
    """(image, evaluation) pairs whose vector-Jacobian products are summed.

    Attributes:
        evaluations: LongTensor [M].
        images: LongTensor [M].
        factor: on the sum, above 1 where the pairs are a sample of all.
    """

    evaluations: Tensor
    images: Tensor
    factor: float = 1.0

    @classmethod
    def all(cls, evaluations: int, images: int, device: torch.device) -> Pairs:
        """Return every image at every evaluation, evaluation by evaluation."""
        pairs = torch.arange(evaluations * images, device=device)
        return cls(pairs // images, pairs % images)

    @classmethod
    def drawn(cls, evaluations: Tensor, num_evaluations: int, device: torch.device) -> Pairs:
        """Return evaluations drawn for each image, see `functional.sampling.step_subsets`.

        Args:
            evaluations: LongTensor [N, K] of `num_evaluations`.
            num_evaluations: of the whole chain.
            device: of the pairs.
        """
        count, size = evaluations.shape
        images = torch.arange(count).repeat(size)
        return cls(evaluations.T.flatten().to(device), images.to(device), num_evaluations / size)


@dataclass(frozen=True)
class _Recording:
    """What the backward pass needs in order to repeat the forward pass."""

    chain: Chain
    rollout: Rollout
    conditioning: Conditioning
    weights: Tensor
    pairs: Pairs
    micro_batch: int
    fixed_shape: bool
    autocast: Callable[[], AbstractContextManager[None]]

    def chunks(self, micro_batch: int, start: int) -> Tensor:
        """Return the numbers of the next pairs, and places to fill the batch up where its shape is fixed: -1."""
        chunk = torch.arange(start, min(start + micro_batch, len(self.pairs.evaluations)), device=self.weights.device)
        if not self.fixed_shape or len(chunk) == micro_batch or start == 0:
            return chunk
        return torch.cat([chunk, chunk.new_full((micro_batch - len(chunk),), -1)])

    def seeds(self, evaluations: Tensor | int, images: Tensor, cotangent: Tensor) -> Tensor:
        """Return the cotangents [M, C, h, w] of the model outputs of some pairs."""
        return self.weights[evaluations].reshape(-1, 1, 1, 1) * cotangent[images]

    def times(self) -> Tensor:
        """Return how often each pair is to be summed, [S, N]; draws from stretches of a chain may repeat one."""
        ones = torch.ones_like(self.pairs.images)
        times = ones.new_zeros(self.rollout.states.shape[:2])
        return times.index_put_((self.pairs.evaluations, self.pairs.images), ones, accumulate=True)

    def without(self, kept: Sequence[KeptEvaluation]) -> _Recording:
        """Return what is left to repeat beside kept evaluations."""
        if not kept:
            return self
        done = torch.zeros(self.rollout.states.shape[:2], dtype=torch.bool, device=self.weights.device)
        for entry in kept:
            done[entry.evaluation, entry.images] = True
        left = ~done[self.pairs.evaluations, self.pairs.images]
        pairs = replace(self.pairs, evaluations=self.pairs.evaluations[left], images=self.pairs.images[left])
        return replace(self, pairs=pairs)

    def products(
        self, chunk: Tensor, cotangent: Tensor, conditioning: Conditioning, inputs: list[Tensor]
    ) -> tuple[Any, ...]:
        """Return the vector-Jacobian products of some pairs, summed over them."""
        evaluations, images = self.pairs.evaluations[chunk], self.pairs.images[chunk]
        with torch.enable_grad(), self.autocast():
            states = self.rollout.states[evaluations, images]
            outputs = self.chain.predict(states, evaluations, conditioning, images)
        seeds = self.seeds(evaluations, images, cotangent) * (chunk >= 0)[:, None, None, None]
        return torch.autograd.grad(outputs, inputs, seeds.to(outputs.dtype), allow_unused=True)


class _Replay(torch.autograd.Function):
    """(leaves of the conditioning, parameters) -> final latents, with the adjusted gradient."""

    @staticmethod
    def forward(ctx: Any, recording: _Recording, *tensors: Tensor) -> Tensor:
        ctx.recording = recording
        ctx.save_for_backward(*tensors)
        return recording.rollout.latents.clone()

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        recording: _Recording = ctx.recording
        count = len(recording.conditioning.leaves)
        parameters = ctx.saved_tensors[count:]
        conditioning = recording.conditioning.with_leaves(ctx.saved_tensors[:count]).detached()
        leaves = list(conditioning.leaves.values())
        inputs = [tensor for tensor in (*leaves, *parameters) if tensor.requires_grad]
        gradients = [torch.zeros_like(tensor) for tensor in inputs]

        def add(parts: Sequence[Tensor | None]) -> None:
            for gradient, part in zip(gradients, parts, strict=True):
                if part is not None:
                    gradient += part

        keeper = recording.rollout.kept
        kept = keeper.take() if keeper is not None else []
        times, recording = recording.times(), recording.without(kept)
        while keeper is not None and kept:
            entry = kept.pop()
            with_graph = [tensor for tensor in (*keeper.leaves, *parameters) if tensor.requires_grad]
            seeds = recording.seeds(entry.evaluation, entry.images, cotangent)
            seeds = seeds * times[entry.evaluation, entry.images][:, None, None, None]
            add(torch.autograd.grad(entry.output, with_graph, seeds.to(entry.output.dtype), allow_unused=True))
        start, micro_batch = 0, recording.micro_batch
        while start < len(recording.pairs.evaluations):
            chunk = recording.chunks(micro_batch, start)
            parts = None
            try:
                parts = recording.products(chunk, cotangent, conditioning, inputs)
            except RuntimeError as error:
                if micro_batch == 1 or not is_out_of_memory(error):
                    raise
            if parts is None:  # outside of `except`, where the error would still hold what it could not place
                micro_batch //= 2
                torch.cuda.empty_cache()
                continue
            add(parts)
            start += micro_batch
        found = iter(gradients)
        return (None, *(next(found) if tensor.requires_grad else None for tensor in (*leaves, *parameters)))


def replay(
    chain: Chain,
    sampled: Rollout,
    conditioning: Conditioning,
    weights: Tensor,
    parameters: Sequence[Tensor],
    *,
    micro_batch: int = 16,
    pairs: Pairs | None = None,
    fixed_shape: bool = False,
) -> Tensor:
    """Attach the adjusted gradient to a finished rollout.

    Args:
        chain: the chain that `sampled` came from, in the state (adaptors, autocast) in which it was sampled.
        sampled: the rollout of N images. Of pairs that it has kept, the gradient is taken without a second evaluation.
        conditioning: prompts of the N images; the gradient with respect to its leaves goes on into the text encoders.
        weights: factor on the cotangent of each model output [S], see `functional.sampling.solver.output_weights`.
        parameters: trainable tensors inside the denoiser (empty where only the text encoder is trained).
        micro_batch: (image, evaluation) pairs that the model is given at once; with guidance it sees twice as many.
            Where memory does not suffice, it is halved until it does.
        pairs: which pairs to sum over, those kept among them; None: all.
        fixed_shape: fill the last batch up to the size of the others, for a compiled model.

    Returns:
        Final latents [N, C, h, w], equal to ``sampled.latents``; their gradient with respect to leaves and
        parameters is sum_t w_t J_t^T g (Shen et al., ICLR 2024, section 4.2).
    """
    pairs = pairs or Pairs.all(len(sampled.states), len(sampled.latents), sampled.states.device)
    recording = _Recording(
        chain,
        sampled,
        conditioning,
        (weights * pairs.factor).to(sampled.latents),
        pairs,
        micro_batch,
        fixed_shape,
        _autocast_as_now(sampled.latents.device.type),
    )
    return _Replay.apply(recording, *conditioning.leaves.values(), *parameters)


def _autocast_as_now(device_type: str) -> Callable[[], AbstractContextManager[None]]:
    """Return a context that restores the present autocast state, for use in the backward pass."""
    enabled = torch.is_autocast_enabled(device_type)
    dtype = torch.get_autocast_dtype(device_type)
    return lambda: torch.autocast(device_type, dtype=dtype, enabled=enabled)
