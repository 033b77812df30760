"""Which part of a picture has to stay as it was (Shen et al., ICLR 2024, section 4.3)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fairlit.functional.geometry import boxes_to_mask, intersect_boxes


def change_factors(
    labels: Mapping[str, Tensor], originals: Mapping[str, Tensor], factors: Mapping[str, float]
) -> Tensor:
    """How much of the preservation an image keeps, given what must change in it.

    Args:
        labels: attribute -> LongTensor [N], the class that each image is to show; -1: no face in the image.
        originals: attribute -> LongTensor [N], the class predicted for the original image; -1: no face.
        factors: attribute -> factor in [0, 1] that applies where this attribute must change.

    Returns:
        float32 [N]: 1 where every label equals the original class, else the smallest factor among the attributes that
        differ. Without a face nothing is known to agree, so the smallest factor of all applies.
    """
    smallest: Tensor | None = None
    for attribute, wanted in labels.items():
        original = originals[attribute].to(wanted.device)
        kept = (wanted == original) & (wanted >= 0)
        factor = torch.where(kept, 1.0, float(factors[attribute]))
        smallest = factor if smallest is None else torch.minimum(smallest, factor)
    if smallest is None:
        raise ValueError("labels: empty; give at least one attribute")
    return smallest.float()


def scale_gradient(images: Tensor, scale: Tensor) -> Tensor:
    """Leaves values as they are and multiplies their gradient by `scale` (broadcast to `images`)."""
    return images.detach() + scale * (images - images.detach())


def overlap_scale(boxes: Tensor, original_boxes: Tensor, factors: Tensor, height: int, width: int) -> Tensor:
    """Gradient scale that frees the place where the old and the new face overlap.

    Args:
        boxes: [N, 4] xyxy in pixels, the face now.
        original_boxes: [N, 4], the face in the original image.
        factors: [N], scale inside the overlap, see `change_factors`.
        height: of the images in pixels.
        width: of the images in pixels.

    Returns:
        [N, 1, H, W] in the dtype of `boxes`: the factor inside the overlap of both boxes, 1 outside.
    """
    inside = boxes_to_mask(intersect_boxes(boxes, original_boxes), height, width)[:, None]
    return torch.where(inside, factors.to(boxes)[:, None, None, None], 1.0)
