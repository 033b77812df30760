"""Which face of one image is which of another: matching by position."""

from __future__ import annotations

import torch
from torch import Tensor

from fairlit.functional.boxes.geometry import box_iou


def match_faces(
    image_index: Tensor,
    boxes: Tensor,
    other_image_index: Tensor,
    *,
    other_boxes: Tensor,
    min_iou: float = 0.1,
) -> Tensor:
    """Pairs the faces of images with those of other images of the same number, image by image.

    In each image the assignment with the largest sum of overlaps (intersection over union) is taken; pairs that
    overlap less than `min_iou` are given up. A face is in one pair at most.

    Args:
        image_index: int64 [F], the image each face lies in.
        boxes: [F, 4] xyxy in pixels.
        other_image_index: int64 [G], the image each of the other faces lies in.
        other_boxes: [G, 4].
        min_iou: least overlap of a pair, in [0, 1].

    Returns:
        int64 [F] on the device of `boxes`: the place of each face's partner among the G, -1 without.

    Example:
        >>> boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [6.0, 0.0, 9.0, 4.0]])
        >>> others = torch.cat([boxes.flip(0), boxes[:1]])
        >>> match_faces(torch.tensor([0, 0]), boxes, torch.tensor([0, 0, 1]), other_boxes=others)
        tensor([1, 0])
    """
    from scipy.optimize import linear_sum_assignment  # takes a fifth of a second, and most audits match nothing

    index, other_index = image_index.cpu(), other_image_index.cpu()
    overlaps = box_iou(boxes.detach().double(), other_boxes.detach().double()).cpu()
    partners = torch.full((len(index),), -1)
    for image in index.unique().tolist():
        rows, columns = (index == image).nonzero()[:, 0], (other_index == image).nonzero()[:, 0]
        shared = overlaps[rows][:, columns]
        for row, column in zip(*linear_sum_assignment(shared.numpy(), maximize=True), strict=True):
            if shared[row, column] >= min_iou:
                partners[rows[row]] = columns[column]
    return partners.to(boxes.device)


def take_partners(rows: Tensor, partners: Tensor, missing: float) -> Tensor:
    """The rows [G, ...] of each face's partner, [F, ...]; `missing` for faces without one.

    Example:
        >>> take_partners(torch.tensor([5, 7]), torch.tensor([1, -1, 0]), 0)
        tensor([7, 0, 5])
    """
    taken = rows.new_full((len(partners), *rows.shape[1:]), missing)
    paired = partners >= 0
    taken[paired] = rows[partners[paired]]
    return taken
