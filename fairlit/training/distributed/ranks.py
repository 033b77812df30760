"""What crosses ranks: rows of small tensors, never images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def world_size() -> int:
    """Return the number of processes that train together; 1 where nothing is distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return this process's number among them, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def share_of_rank(items: Sequence[T]) -> list[T]:
    """Return every world-size-th item, beginning with the rank's own number."""
    return list(items[rank() :: world_size()])


def all_of(flag: bool) -> bool:
    """Return whether it is so on every rank; every rank must ask."""
    if world_size() == 1:
        return flag
    flags: list[bool] = [False] * world_size()
    dist.all_gather_object(flags, flag)
    return all(flags)


def gather_rows(rows: Tensor, total: int) -> Tensor:
    """Put the rows of all ranks together in the order that `share_of_rank` took them from.

    Args:
        rows: [n, ...] this rank's rows; every rank has floor or ceil of total / world size.
        total: number of rows over all ranks.

    Returns:
        [total, ...], the same on every rank, without gradient.
    """
    world = world_size()
    rows = rows.detach()
    if world == 1:
        return rows
    longest = -(-total // world)
    padded = rows.new_zeros((longest, *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in range(world)]
    dist.all_gather(parts, padded.contiguous())
    return torch.stack(parts, dim=1).flatten(0, 1)[:total]


def gather_items(items: Sequence[T]) -> list[T]:
    """Return the plain data of all ranks, rank by rank, the same on every rank."""
    parts: list[list[T]] = [[] for _ in range(world_size())]
    if len(parts) == 1:
        return list(items)
    dist.all_gather_object(parts, list(items))
    return [item for part in parts for item in part]


def any_rank(flags: Sequence[bool], device: torch.device) -> list[bool]:
    """Return for each flag whether it is set on any rank; `device` is what the ranks talk through."""
    if world_size() == 1:
        return list(flags)
    votes = torch.tensor([float(flag) for flag in flags], device=device)
    dist.all_reduce(votes, dist.ReduceOp.MAX)
    return [vote > 0 for vote in votes.tolist()]


def smallest(value: int, device: torch.device) -> int:
    """Return the smallest of the numbers of all ranks; every rank must ask. `device` is what they talk through."""
    if world_size() == 1:
        return value
    found = torch.tensor(value, device=device)
    dist.all_reduce(found, dist.ReduceOp.MIN)
    return int(found)


def average_gradients(parameters: Sequence[Tensor]) -> None:
    """Replace each gradient by its mean over ranks, in one message."""
    if world_size() == 1:
        return
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    flat = torch.cat([parameter.grad.flatten() for parameter in parameters if parameter.grad is not None])
    dist.all_reduce(flat)
    flat /= world_size()
    offset = 0
    for parameter in parameters:
        assert parameter.grad is not None
        size = parameter.grad.numel()
        parameter.grad.copy_(flat[offset : offset + size].view_as(parameter.grad))
        offset += size
