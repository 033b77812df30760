"""Boxes, masks, 5-point alignment and sampling grids, for any number of faces at once.

Boxes are (x1, y1, x2, y2) in pixels with x to the right and y downwards; the pixel in row r and column c
covers [c, c + 1) x [r, r + 1), so an image of width W spans x from 0 to W. Everything but masks is
differentiable with respect to its floating-point inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor


def expand_boxes(boxes: Tensor, factor: float) -> Tensor:
    """Scales boxes about their centres.

    Args:
        boxes: [F, 4] in pixels.
        factor: Ratio of new to old side length, 0 or more; 1 changes nothing.

    Returns:
        [F, 4], not clipped to any image.

    Example:
        >>> expand_boxes(torch.tensor([[10.0, 10.0, 20.0, 30.0]]), 2.0).tolist()
        [[5.0, 0.0, 25.0, 40.0]]
    """
    centres, sizes = _centres_and_sizes(boxes)
    half = sizes * (factor / 2)
    return torch.cat([centres - half, centres + half], dim=-1)


def square_boxes(boxes: Tensor) -> Tensor:
    """Squares with the same centres, as wide as the longer side.

    Args:
        boxes: [F, 4] in pixels.

    Returns:
        [F, 4], not clipped to any image.

    Example:
        >>> square_boxes(torch.tensor([[10.0, 10.0, 20.0, 30.0]])).tolist()
        [[5.0, 10.0, 25.0, 30.0]]
    """
    centres, sizes = _centres_and_sizes(boxes)
    half = sizes.amax(dim=-1, keepdim=True) / 2
    return torch.cat([centres - half, centres + half], dim=-1)


def clip_boxes(boxes: Tensor, height: int, width: int) -> Tensor:
    """The part of each box that lies in the image; a box outside it becomes one of zero area on its border.

    Args:
        boxes: [F, 4] in pixels.
        height: Image height in pixels.
        width: Image width in pixels.

    Returns:
        [F, 4] with x in [0, width] and y in [0, height].

    Example:
        >>> clip_boxes(torch.tensor([[-5.0, 3.0, 70.0, 9.0]]), height=8, width=64).tolist()
        [[0.0, 3.0, 64.0, 8.0]]
    """
    x1, y1, x2, y2 = boxes.unbind(dim=-1)
    return torch.stack([x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)], dim=-1)


def intersect_boxes(first: Tensor, second: Tensor) -> Tensor:
    """Overlap of boxes, pair by pair.

    Args:
        first: [..., 4] in pixels.
        second: [..., 4] in pixels; broadcast against `first`.

    Returns:
        [..., 4]; boxes that do not meet give one of zero area.

    Example:
        >>> intersect_boxes(torch.tensor([[0.0, 0.0, 4.0, 4.0]]), torch.tensor([[2.0, 1.0, 9.0, 3.0]])).tolist()
        [[2.0, 1.0, 4.0, 3.0]]
    """
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    return torch.cat([low, torch.maximum(low, high)], dim=-1)


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of every box of one set with every box of another.

    Args:
        first: [F, 4] in pixels.
        second: [G, 4] in pixels.

    Returns:
        [F, G] in [0, 1]; 0 where the union has no area.

    Example:
        >>> box_iou(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 0.0, 3.0, 2.0], [5.0, 5.0, 5.0, 5.0]]))
        tensor([[0.3333, 0.0000]])
    """
    overlap = _area(intersect_boxes(first[:, None], second[None]))
    union = _area(first)[:, None] + _area(second)[None] - overlap
    return torch.where(union > 0, overlap / torch.where(union > 0, union, 1), torch.zeros_like(union))


def boxes_to_mask(boxes: Tensor, height: int, width: int) -> Tensor:
    """Marks the pixels whose centre lies in the box.

    Args:
        boxes: [F, 4] in pixels; may reach outside the image.
        height: Image height in pixels.
        width: Image width in pixels.

    Returns:
        bool [F, height, width]; a box of zero area marks nothing.

    Example:
        >>> boxes_to_mask(torch.tensor([[1.0, 0.0, 3.0, 1.0]]), height=2, width=4).int().tolist()
        [[[0, 1, 1, 0], [0, 0, 0, 0]]]
    """
    x1, y1, x2, y2 = boxes[:, :, None].unbind(dim=1)
    columns = torch.arange(width, device=boxes.device, dtype=boxes.dtype) + 0.5
    rows = torch.arange(height, device=boxes.device, dtype=boxes.dtype) + 0.5
    in_columns = (columns >= x1) & (columns < x2)
    in_rows = (rows >= y1) & (rows < y2)
    return in_rows[:, :, None] & in_columns[:, None, :]


def similarity_transform(source: Tensor, target: Tensor) -> Tensor:
    """Least-squares rotation, uniform scale and shift that take source points to target points.

    S. Umeyama, Least-squares estimation of transformation parameters between two point patterns, IEEE
    TPAMI 13(4), 1991. In the plane the optimum has a closed form without a decomposition: written as
    complex numbers, the best factor is the inner product of the centred point sets over the squared norm
    of the source. It never reflects, as Umeyama's determinant condition asks.

    Args:
        source: Points [F, P, 2] in pixels.
        target: Points [P, 2] or [F, P, 2] in pixels.

    Returns:
        [F, 2, 3]: point (x, y) goes to `T[:, :2] @ (x, y) + T[:, 2]`. Source points that coincide give
        scale 0: everything goes to the centre of the target.

    Example:
        >>> points = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
        >>> similarity_transform(points, 2 * points[0] + 3)
        tensor([[[2., -0., 3.],
                 [0., 2., 3.]]])
    """
    source_mean = source.mean(dim=1)
    target_mean = target.mean(dim=-2).expand_as(source_mean)
    from_x, from_y = (source - source_mean[:, None]).unbind(dim=-1)
    to_x, to_y = (target - target.mean(dim=-2, keepdim=True)).unbind(dim=-1)
    spread = (from_x**2 + from_y**2).sum(dim=1)
    spread = torch.where(spread > 0, spread, 1)
    cosine = (from_x * to_x + from_y * to_y).sum(dim=1) / spread
    sine = (from_x * to_y - from_y * to_x).sum(dim=1) / spread
    linear = torch.stack([torch.stack([cosine, -sine], dim=-1), torch.stack([sine, cosine], dim=-1)], dim=-2)
    shift = target_mean - _applied(linear, source_mean)
    return torch.cat([linear, shift[:, :, None]], dim=-1)


def invert_similarity(transforms: Tensor) -> Tensor:
    """Inverse of `similarity_transform`'s result.

    Args:
        transforms: [F, 2, 3].

    Returns:
        [F, 2, 3]; a transform of scale 0 has no inverse and gives one of scale 0.

    Example:
        >>> invert_similarity(torch.tensor([[[2.0, 0.0, 3.0], [0.0, 2.0, 5.0]]])).tolist()
        [[[0.5, 0.0, -1.5], [-0.0, 0.5, -2.5]]]
    """
    cosine, sine = transforms[:, 0, 0], transforms[:, 1, 0]
    squared_scale = cosine**2 + sine**2
    squared_scale = torch.where(squared_scale > 0, squared_scale, 1)
    cosine, sine = cosine / squared_scale, sine / squared_scale
    linear = torch.stack([torch.stack([cosine, sine], dim=-1), torch.stack([-sine, cosine], dim=-1)], dim=-2)
    return torch.cat([linear, -_applied(linear, transforms[:, :, 2])[:, :, None]], dim=-1)


def crop_grid(boxes: Tensor, size: int, height: int, *, width: int) -> Tensor:
    """Where to sample an image so as to cut out boxes and bring them to one size.

    Args:
        boxes: [F, 4] in pixels; may reach outside the image.
        size: Side of the square crop in pixels.
        height: Image height in pixels.
        width: Image width in pixels.

    Returns:
        [F, size, size, 2] for `torch.nn.functional.grid_sample(..., align_corners=False)`: (x, y), where
        -1 and 1 are the outer borders of the image.

    Example:
        >>> crop_grid(torch.tensor([[0.0, 0.0, 4.0, 2.0]]), size=2, height=2, width=8)[0, 0].tolist()
        [[-0.75, -0.5], [-0.25, -0.5]]
    """
    steps = (torch.arange(size, device=boxes.device, dtype=boxes.dtype) + 0.5) / size
    x1, y1, x2, y2 = boxes[:, :, None].unbind(dim=1)
    columns, rows = x1 + (x2 - x1) * steps, y1 + (y2 - y1) * steps
    points = torch.stack(
        [columns[:, None, :].expand(-1, size, -1), rows[:, :, None].expand(-1, -1, size)],
        dim=-1,
    )
    return _to_grid(points, height, width)


def aligned_grid(transforms: Tensor, size: int, height: int, *, width: int) -> Tensor:
    """Where to sample an image so that landmarks come to lie on a template.

    Args:
        transforms: [F, 2, 3] from image pixels to template pixels, as `similarity_transform(landmarks, template)`.
        size: Side of the square template in pixels.
        height: Image height in pixels.
        width: Image width in pixels.

    Returns:
        [F, size, size, 2] for `torch.nn.functional.grid_sample(..., align_corners=False)`.

    Example:
        >>> same = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
        >>> aligned_grid(same, size=2, height=2, width=2)[0, 0].tolist()
        [[-0.5, -0.5], [0.5, -0.5]]
    """
    inverse = invert_similarity(transforms)
    steps = torch.arange(size, device=transforms.device, dtype=transforms.dtype) + 0.5
    rows, columns = torch.meshgrid(steps, steps, indexing="ij")
    template = torch.stack([columns, rows], dim=-1).flatten(0, 1)
    points = _applied(inverse[:, None, :, :2], template) + inverse[:, None, :, 2]
    return _to_grid(points.unflatten(1, (size, size)), height, width)


def _centres_and_sizes(boxes: Tensor) -> tuple[Tensor, Tensor]:
    low, high = boxes[..., :2], boxes[..., 2:]
    return (low + high) / 2, high - low


def _applied(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Matrices [..., 2, 2] times vectors [..., 2]. Written out, because autocast would do `@` in half precision."""
    return (matrices * vectors[..., None, :]).sum(dim=-1)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)


def _to_grid(points: Tensor, height: int, width: int) -> Tensor:
    """Pixel coordinates [..., 2] to grid_sample's, in which -1 and 1 are the outer borders."""
    return points * (2 / points.new_tensor([width, height])) - 1
