"""Non-maximum suppression: of boxes that overlap, the one with the highest score stays."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fairlit.functional.boxes.geometry import box_iou

_BLOCK = 256  # boxes that are compared with each other at once: bounds memory


def suppress_overlaps(
    boxes: Tensor,
    scores: Tensor,
    image_index: Tensor,
    *,
    threshold: float,
    overlap: Callable[[Tensor, Tensor], Tensor] = box_iou,
) -> Tensor:
    """Return which boxes stay when each, best first, drives out those of its image that overlap it.

    The greedy algorithm, for many images at once and in blocks: the boxes of a block are compared with those that stay
    in the blocks before it, and then among each other.

    Args:
        boxes: [B, 4] xyxy in pixels.
        scores: [B]; of two equal ones the first is better.
        image_index: int64 [B], the image that each box lies in.
        threshold: largest overlap with a better box at which a box stays.
        overlap: overlaps [F, G] of boxes [F, 4] and [G, 4]; intersection over union unless given.

    Returns:
        int64 [S]: the places of the boxes that stay, best score first.

    Example:
        >>> boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 1.0, 4.0, 5.0], [6.0, 0.0, 9.0, 4.0]])
        >>> suppress_overlaps(boxes, torch.tensor([0.7, 0.8, 0.9]), torch.tensor([0, 0, 0]), threshold=0.5)
        tensor([2, 1])
    """
    by_score = scores.argsort(descending=True, stable=True)
    order = by_score[image_index[by_score].argsort(stable=True)]  # images one after the other, best first in each
    kept = order[:0]
    for block in order.split(_BLOCK):
        before = kept[image_index[kept] == image_index[block[:1]]]  # others end before the block begins
        driven_out = _overlapping(boxes, image_index, before, block, overlap=overlap, threshold=threshold).any(dim=0)
        block = block[~driven_out]
        among = _overlapping(boxes, image_index, block, block, overlap=overlap, threshold=threshold).triu(diagonal=1)
        kept = torch.cat([kept, block[_undefeated(among)]])
    stays = torch.zeros_like(image_index, dtype=torch.bool).index_fill_(0, kept, True)
    return by_score[stays[by_score]]


def _overlapping(
    boxes: Tensor,
    image_index: Tensor,
    first: Tensor,
    second: Tensor,
    *,
    overlap: Callable[[Tensor, Tensor], Tensor],
    threshold: float,
) -> Tensor:
    """Bool [F, S]: which of the first boxes overlap which of the second in the same image."""
    same = image_index[first][:, None] == image_index[second]
    return same & (overlap(boxes[first], boxes[second]) > threshold)


def _undefeated(beats: Tensor) -> Tensor:
    """Bool [B]: who is left of ordered boxes when whoever is left defeats those that it beats, bool [B, B]."""
    left = torch.ones(len(beats), dtype=torch.bool, device=beats.device)
    while True:  # each round settles at least one more box of every chain, so this ends with the greedy answer
        settled = ~(beats & left[:, None]).any(dim=0)
        if torch.equal(settled, left):
            return left
        left = settled
