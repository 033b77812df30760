"""Faces that are cropped a little off, so that a loss cannot count on the exact place of its crops."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from fairlit.faces.detector import Faces


def jitter_faces(faces: Faces, draws: Tensor, strength: float) -> Faces:
    """Return faces whose boxes and landmarks are shifted and resized together about the middle of the box.

    Args:
        faces: F faces.
        draws: float [F, 3] in [-1, 1]: shift to the right, shift downwards, growth.
        strength: largest shift, as a share of the box's width or height, and largest logarithm of the factor on its
            size.

    Returns:
        The same faces elsewhere; boxes may reach beyond the image.

    Example:
        >>> import torch
        >>> index, box, points = torch.tensor([0]), torch.tensor([[0.0, 0.0, 10.0, 20.0]]), torch.zeros(1, 5, 2)
        >>> one = Faces(index, box, torch.ones(1), points, num_images=1)
        >>> jitter_faces(one, torch.tensor([[1.0, -0.5, 0.0]]), 0.1).boxes
        tensor([[ 1., -1., 11., 19.]])
    """
    corners = faces.boxes.unflatten(1, (2, 2))
    sides, middles = corners[:, 1] - corners[:, 0], corners.mean(dim=1)
    draws = strength * draws.to(sides)
    moved, factors = middles + draws[:, :2] * sides, draws[:, 2].exp()

    def move(points: Tensor) -> Tensor:
        return moved[:, None] + factors[:, None, None] * (points - middles[:, None])

    return replace(faces, boxes=move(corners).flatten(1), landmarks=move(faces.landmarks))
