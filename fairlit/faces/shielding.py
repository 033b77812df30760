"""Faces that stand close to one another: each in an image of its own, whose gradient keeps off its neighbours."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from fairlit.faces.detector import Faces
from fairlit.functional.alignment.preservation import scale_gradient
from fairlit.functional.boxes.geometry import boxes_to_mask


def shield_neighbours(images: Tensor, faces: Faces) -> tuple[Tensor, Faces]:
    """An image for each face, the same pixels, through which no gradient reaches the other faces' boxes.

    The crop of a face with its margin shows part of a face beside it. Without this, what is wanted of the one would
    change the other. Inside a face's own box its gradient flows even where another box overlaps it.

    Args:
        images: [N, 3, H, W].
        faces: F faces in these images.

    Returns:
        Images [F, 3, H, W], equal to `images[faces.image_index]`; and the faces, face f in image f.
    """
    own = images[faces.image_index]
    alone = replace(faces, image_index=torch.arange(len(faces), device=images.device), num_images=len(faces))
    if len(faces) == 0 or int(faces.counts.max()) < 2:
        return own, alone
    height, width = images.shape[-2:]
    inside = boxes_to_mask(faces.boxes, height, width)
    together = faces.image_index[:, None] == faces.image_index[None]
    together.fill_diagonal_(False)
    others = torch.einsum("fg,ghw->fhw", together.float(), inside.float()) > 0
    shielded = others & ~inside
    return scale_gradient(own, (~shielded)[:, None].to(own)), alone
