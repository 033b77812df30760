"""Which kernel computes attention: the fastest for each head size, by measurement."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.benchmark import Timer

BACKENDS = (
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
)
_TIMED = 5


class BackendAttnProcessor(AttnProcessor2_0):
    """diffusers' processor with one of torch's attention kernels.

    Args:
        backend: the kernel; where it cannot take an input (a mask, say), the plain one steps in.
    """

    def __init__(self, backend: SDPBackend) -> None:
        super().__init__()
        self.backend = backend

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """As in diffusers."""
        with sdpa_kernel([self.backend, SDPBackend.MATH], set_priority=True):
            return super().__call__(*args, **kwargs)


def choose_attention(unet: nn.Module, tokens: int, batch: int, *, dtype: torch.dtype) -> dict[int, SDPBackend]:
    """Give every attention of a U-Net the kernel that was fastest for its head size on its device.

    Args:
        unet: its attentions with diffusers' plain processor; others are left alone.
        tokens: pixels of the latent, which the first block attends over; deeper blocks have a quarter each.
        batch: samples that go through the model at once.
        dtype: of the activations.

    Returns:
        The kernel of each head size.
    """
    chosen: dict[int, SDPBackend] = {}
    device = next(unet.parameters()).device
    depth = tokens
    for module in unet.modules():
        if not isinstance(module, Attention) or type(module.processor) is not AttnProcessor2_0:
            continue
        size = module.inner_dim // module.heads
        if size not in chosen:
            chosen[size] = fastest_backend((batch, module.heads, depth, size), dtype, device)
            depth = max(depth // 4, 16)
        module.set_processor(BackendAttnProcessor(chosen[size]))
    return chosen


def fastest_backend(shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device) -> SDPBackend:
    """Return the kernel with the shortest forward and backward pass of self-attention.

    Args:
        shape: (samples, heads, tokens, head size).
        dtype: of queries, keys and values.
        device: where to measure.
    """
    seconds = {backend: _seconds(backend, shape, dtype, device) for backend in BACKENDS}
    return min(seconds, key=lambda backend: seconds[backend])


def _seconds(backend: SDPBackend, shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device) -> float:
    """Return the median of a few runs; infinite where the kernel cannot do it."""
    query, key, value = (torch.randn(shape, dtype=dtype, device=device, requires_grad=True) for _ in range(3))

    def both_ways() -> None:
        torch.autograd.grad(scaled_dot_product_attention(query, key, value).sum(), (query, key, value))

    timer = Timer("both_ways()", globals={"both_ways": both_ways}, num_threads=torch.get_num_threads())
    try:
        with sdpa_kernel(backend):
            return timer.timeit(_TIMED).median
    except RuntimeError:  # no such kernel for this device, type or size; or too little memory for it
        return float("inf")
