"""How many (image, evaluation) pairs keep their activations from sampling until the backward pass."""

from __future__ import annotations

import torch
from torch import Tensor

from fairlit.diffusion import Chain, Conditioning
from fairlit.diffusion.kept_activations import keeping
from fairlit.training.finetuning.settings import Gradient, Replay
from fairlit.training.profiling.live_memory import LiveMemory

# GiB where `replay.keep` is auto. On GPUs the activations of one evaluation of a large model take gigabytes.
_AUTO_BUDGET = {"cpu": 1.0}


def keep_budget(gradient: Gradient, replay: Replay, device_type: str) -> float:
    """Return the GiB that activations may take from sampling until the backward pass.

    Args:
        gradient: how the gradient goes through the chain.
        replay: how the model's evaluations are repeated.
        device_type: type of the device that trains, such as ``cpu``.
    """
    if gradient.mode != "replay":
        return 0.0
    return _AUTO_BUDGET.get(device_type, 0.0) if replay.keep == "auto" else replay.keep


def kept_pairs(chain: Chain, noise: Tensor, conditioning: Conditioning, *, budget: float, max_batch: int) -> int:
    """Return the most pairs whose activations fit into a memory budget.

    Two small evaluations tell what a pair needs, and what a batch needs besides: under autocast each holds its own
    copies of the weights.

    Args:
        chain: the chain that is to be sampled.
        noise: unit noise of the images [N, C, h, w], or all that the solver draws, see `LinearSolver.draws`.
        conditioning: their prompts, as the trained model reads them.
        budget: GiB.
        max_batch: most images that are evaluated at once.
    """
    few, more = (kept_bytes(chain, noise, conditioning, count=count) for count in (1, 3))
    each = max((more - few) / 2, 1.0)
    besides = max(few - each, 0.0)
    batches = -(-len(noise) // max_batch)
    return max(0, int((budget * 2**30 - besides) / (each + besides * batches / len(noise))))


def kept_bytes(chain: Chain, noise: Tensor, conditioning: Conditioning, *, count: int) -> int:
    """Return the bytes that stay alive with the graph of one evaluation of `count` images."""
    # The batch axis alone counts, so one image at the first evaluation stands for any.
    zeros = torch.zeros(count, dtype=torch.long, device=noise.device)
    state, prompts = chain.solver.draws(noise)[0][zeros], conditioning.detached()
    if noise.device.type == "cuda":
        with keeping(noise.device):
            chain.predict(state, zeros, prompts, zeros)  # what is allocated once is there before anything is measured
            before = torch.cuda.memory_allocated(noise.device)
            output = chain.predict(state, zeros, prompts, zeros)
            taken = torch.cuda.memory_allocated(noise.device) - before
    else:
        with LiveMemory() as live, keeping(noise.device):
            output = chain.predict(state, zeros, prompts, zeros)
        taken = live.now
    del output
    return taken
