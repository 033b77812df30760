"""Errors of allocators that have no memory left."""

from __future__ import annotations

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that a GPU, or the CPU, has too little memory.

    torch 2.15 has a class of its own for GPUs alone; the allocator of CPUs raises a bare `RuntimeError`.

    Args:
        error: what was raised.
    """
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator: " in str(error)
    )
