"""Which part of a picture has to stay as it was (Shen et al., ICLR 2024, section 4.3)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fairlit.functional.boxes.geometry import boxes_to_mask, intersect_boxes


def change_factors(
    target_labels: Mapping[str, Tensor], reference_labels: Mapping[str, Tensor], factors: Mapping[str, float]
) -> Tensor:
    """Return how much of the preservation is kept where a face is, given what must change in it.

    Args:
        target_labels: attribute -> LongTensor [F], the class that each face is to become; `assignment.UNDECIDED`
            counts as a change.
        reference_labels: attribute -> LongTensor [F], the class predicted for the same face in the reference image; -1:
            none there.
        factors: attribute -> factor in [0, 1] that applies where this attribute must change.

    Returns:
        float32 [F]: 1 where every label equals the reference's, else the smallest factor among the attributes that
        differ.
    """
    smallest: Tensor | None = None
    for attribute, labels in target_labels.items():
        reference = reference_labels[attribute].to(labels.device)
        factor = torch.where(labels == reference, 1.0, float(factors[attribute]))
        smallest = factor if smallest is None else torch.minimum(smallest, factor)
    if smallest is None:
        raise ValueError("target_labels: empty; give at least one attribute")
    return smallest.float()


def image_factors(face_factors: Tensor, image_index: Tensor, images: int, *, without_face: float) -> Tensor:
    """Return how much of the preservation an image keeps: the smallest factor among its faces.

    Args:
        face_factors: [F], see `change_factors`.
        image_index: int64 [F], the image each face lies in.
        images: number N of images.
        without_face: factor of an image without a face, of which nothing is known to agree.

    Returns:
        [N] in the dtype of `face_factors`.

    Example:
        >>> image_factors(torch.tensor([1.0, 0.2, 1.0]), torch.tensor([0, 0, 2]), 3, without_face=0.1)
        tensor([0.2000, 0.1000, 1.0000])
    """
    has_face = torch.zeros(images, dtype=torch.bool, device=face_factors.device)
    has_face[image_index] = True
    smallest = face_factors.new_ones(images).scatter_reduce(0, image_index, face_factors, "amin")
    return torch.where(has_face, smallest, without_face)


def scale_gradient(images: Tensor, scale: Tensor) -> Tensor:
    """Leaves values as they are and multiplies their gradient by `scale` (broadcast to `images`)."""
    return images.detach() + scale * (images - images.detach())


def overlap_scale(
    boxes: Tensor, reference_boxes: Tensor, factors: Tensor, *, image_index: Tensor, size: tuple[int, int, int]
) -> Tensor:
    """Gradient scale that frees the places where a face and the same face in the reference image overlap.

    Args:
        boxes: [F, 4] xyxy in pixels, the faces now.
        reference_boxes: [F, 4], the same faces in the reference images (all zero: none there).
        factors: [F], scale inside the overlap, see `change_factors`.
        image_index: int64 [F], the image each face lies in.
        size: number N of images, their height and their width in pixels.

    Returns:
        [N, 1, H, W] in the dtype of `boxes`: the factor inside the overlap of both boxes, 1 outside. Where the places
        of several faces overlap, the smallest factor.
    """
    images, height, width = size
    inside = boxes_to_mask(intersect_boxes(boxes, reference_boxes), height, width)
    scales = torch.where(inside, factors.to(boxes)[:, None, None], 1.0)
    index = image_index[:, None, None].expand_as(scales)
    return boxes.new_ones(images, height, width).scatter_reduce(0, index, scales, "amin")[:, None]
