"""How many (image, evaluation) pairs the replay takes at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from fairlit.diffusion import Chain, Conditioning, Pairs, Rollout, replay
from fairlit.training.profiling.live_memory import LiveMemory

# Larger batches are not faster: on CPUs activations leave the caches, on GPUs 128 samples of a 64 x 64 latent (64 pairs
# under guidance) fill them.
LARGEST_MICRO_BATCH = {"cpu": 32, "cuda": 64}
_SHARE_OF_FREE = 0.85  # the rest is for what the allocator cannot use and what libraries take


def largest_micro_batch(
    chain: Chain, sampled: Rollout, conditioning: Conditioning, *, parameters: Sequence[Tensor], budget: float | None
) -> int:
    """Return the most pairs that are worth taking at once and fit into the memory budget.

    Two small replays tell what a pair needs, the rest is a straight line; nothing is found by running out of memory.

    Args:
        chain: the chain that `sampled` came from.
        sampled: a rollout; what it has kept stays.
        conditioning: its prompts.
        parameters: trainable tensors inside the denoiser.
        budget: GiB for the activations of one batch; None: most of what is free on a GPU, no limit on a CPU.

    Returns:
        At least 1, also where the budget is too small for that.
    """
    device = sampled.latents.device
    largest = LARGEST_MICRO_BATCH.get(device.type, LARGEST_MICRO_BATCH["cuda"])
    if budget is None and device.type != "cuda":
        return largest
    allowed = budget * 2**30 if budget is not None else _SHARE_OF_FREE * _free(device)
    few, more = 1, 3
    sampled = replace(sampled, kept=None)  # what is kept serves once, and is not to be measured

    def run(count: int) -> Callable[[], object]:
        zeros = torch.zeros(count, dtype=torch.long, device=device)
        weights = torch.ones(len(sampled.states), device=device)
        trained = [tensor for tensor in (*conditioning.leaves.values(), *parameters) if tensor.requires_grad]

        def once() -> object:
            # The batch axis of the pairs alone counts, so one image at one evaluation stands for any.
            pairs = Pairs(zeros, zeros)
            latents = replay(chain, sampled, conditioning, weights, parameters, micro_batch=count, pairs=pairs)
            return torch.autograd.grad(latents.sum(), trained, retain_graph=True, allow_unused=True)

        return once

    run(few)()  # what is allocated once, such as workspaces, is there before anything is measured
    peaks = [peak_bytes(run(count), device) for count in (few, more)]
    each = max((peaks[1] - peaks[0]) / (more - few), 1.0)
    return max(1, min(largest, int((allowed - (peaks[0] - few * each)) / each)))


def even_micro_batch(pairs: int, largest: int) -> int:
    """Return the size at which `pairs` pairs take as few batches as with `largest`, all of about one size."""
    batches = -(-pairs // largest)
    return -(-pairs // batches)


def peak_bytes(run: Callable[[], object], device: torch.device) -> int:
    """Return the most bytes alive at once while `run` runs, beyond what was there before."""
    if device.type != "cuda":
        with LiveMemory() as live:
            run()
        return live.peak
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _free(device: torch.device) -> float:
    """Return the bytes that a GPU could still give this process."""
    torch.cuda.empty_cache()
    return float(torch.cuda.mem_get_info(device)[0])
