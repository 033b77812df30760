"""The replay: the adjusted gradient of a sampling chain, one model call at a time.

Because the adjusted gradient detaches the input of every model call, the S vector-Jacobian products do not depend
on each other and share one cotangent g = dL/dx_S. So the chain is sampled once without gradient, the losses give g,
and every (image, call) pair is then repeated on its own, with gradient, in batches of any size. Memory is that of
one batch, whatever S is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fairlit.diffusion.chain import Chain, Conditioning
from fairlit.diffusion.rollout import Rollout


@dataclass(frozen=True)
class _Recording:
    """What the backward pass needs in order to repeat the forward pass."""

    chain: Chain
    rollout: Rollout
    rows: Tensor
    weights: Tensor
    micro_batch: int
    autocast: Callable[[], AbstractContextManager[None]]


class _Replay(torch.autograd.Function):
    """(embeddings, parameters) -> final latents, with the adjusted gradient."""

    @staticmethod
    def forward(ctx: Any, recording: _Recording, embeddings: Tensor, *parameters: Tensor) -> Tensor:
        ctx.recording = recording
        ctx.save_for_backward(embeddings, *parameters)
        return recording.rollout.latents.clone()

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        recording: _Recording = ctx.recording
        embeddings, *parameters = ctx.saved_tensors
        leaf = embeddings.detach().requires_grad_(ctx.needs_input_grad[1])
        wanted = [tensor for tensor in (leaf, *parameters) if tensor.requires_grad]
        gradients = [torch.zeros_like(tensor) for tensor in wanted]
        states = recording.rollout.states
        conditioning = Conditioning(leaf, recording.rows)
        weights = recording.weights.to(cotangent)
        count = states.shape[1]
        pairs = torch.arange(states.shape[0] * count, device=states.device)
        for chunk in pairs.split(recording.micro_batch):
            calls, images = chunk // count, chunk % count
            with torch.enable_grad(), recording.autocast():
                outputs = recording.chain.predict(states[calls, images], calls, conditioning, images)
            seeds = weights[calls][:, None, None, None] * cotangent[images]
            parts = torch.autograd.grad(outputs, wanted, seeds.to(outputs.dtype), allow_unused=True)
            for gradient, part in zip(gradients, parts, strict=True):
                if part is not None:
                    gradient += part
        found = iter(gradients)
        return (None, *(next(found) if tensor.requires_grad else None for tensor in (leaf, *parameters)))


def replay(
    chain: Chain,
    sampled: Rollout,
    conditioning: Conditioning,
    weights: Tensor,
    parameters: Sequence[Tensor],
    *,
    micro_batch: int = 16,
) -> Tensor:
    """Attaches the adjusted gradient to a finished rollout.

    Args:
        chain: the chain that `sampled` came from, in the state (adaptors, autocast) in which it was sampled.
        sampled: the rollout of N images.
        conditioning: prompts of the N images; the gradient with respect to its embeddings goes on into the text
            encoder.
        weights: factor on the cotangent of each model output [S], see `functional.solver.output_weights`.
        parameters: trainable tensors inside the denoiser (empty where only the text encoder is trained).
        micro_batch: (image, call) pairs in one model call; with guidance the model sees twice as many.

    Returns:
        Final latents [N, C, h, w], equal to ``sampled.latents``; their gradient with respect to embeddings and
        parameters is sum_t w_t J_t^T g (Shen et al., ICLR 2024, section 4.2).
    """
    recording = _Recording(
        chain, sampled, conditioning.rows, weights, micro_batch, _autocast_as_now(sampled.latents.device.type)
    )
    return _Replay.apply(recording, conditioning.embeddings, *parameters)


def _autocast_as_now(device_type: str) -> Callable[[], AbstractContextManager[None]]:
    """A context that restores the present autocast state, for use in the backward pass."""
    enabled = torch.is_autocast_enabled(device_type)
    dtype = torch.get_autocast_dtype(device_type)
    return lambda: torch.autocast(device_type, dtype=dtype, enabled=enabled)
