"""The part of an image that belongs to one face, and how a new face is set into it without a seam."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur


def face_regions(boxes: Tensor, height: int, width: int, *, grow: float = 1.5, feather: float = 0.25) -> Tensor:
    """Soft masks of the faces of one image: 1 on a face, 0 outside its box grown by a factor, and 0 on other faces.

    A pixel's distance to a face is the factor by which the face's box must grow to reach it: 0 at its centre, 1 on its
    edge. A pixel belongs to the nearest face, so two faces that overlap share out what both boxes cover, and no two
    regions meet.

    Args:
        boxes: [F, 4] xyxy in pixels, of faces of one image; may reach outside it, and be as small as a point.
        height: of the image.
        width: of the image.
        grow: how large the region is, as a factor on the box; hair lies outside the box.
        feather: distance over which a mask falls from 1 to 0, inside the region and towards other faces. At the
            image's own border it does not fall.

    Returns:
        [F, height, width] in the dtype of `boxes`, in [0, 1].

    Example:
        >>> boxes = torch.tensor([[0.0, 0.0, 2.0, 1.0], [4.0, 0.0, 6.0, 1.0]])
        >>> face_regions(boxes, 1, 6, grow=1.0, feather=0.25).tolist()
        [[[1.0, 1.0, 0.0, 0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0, 0.0, 1.0, 1.0]]]
    """
    columns = torch.arange(width, device=boxes.device, dtype=boxes.dtype) + 0.5
    rows = torch.arange(height, device=boxes.device, dtype=boxes.dtype) + 0.5
    centres, half = (boxes[:, :2] + boxes[:, 2:]) / 2, ((boxes[:, 2:] - boxes[:, :2]) / 2).clamp(min=0.5)
    across = (columns - centres[:, :1]).abs() / half[:, :1]
    down = (rows - centres[:, 1:]).abs() / half[:, 1:]
    distances = torch.maximum(down[:, :, None], across[:, None, :])  # [F, height, width]
    masks = ((grow - distances) / feather).clamp(0, 1)
    if len(boxes) > 1:
        nearest, second = distances.topk(2, dim=0, largest=False).values
        others = torch.where(distances == nearest, second, nearest)
        masks = masks * ((others - distances) / feather).clamp(0, 1)
    return masks


def fade_at_window(mask: Tensor, window: tuple[slice, slice], width: float) -> Tensor:
    """A mask that falls to 0 at those sides of a window that are not sides of the image.

    Args:
        mask: [H, W] in [0, 1].
        window: rows and columns.
        width: in pixels, over which it falls.

    Returns:
        [H, W], 0 outside the window.

    Example:
        >>> fade_at_window(torch.ones(1, 6), (slice(0, 1), slice(0, 4)), 2.0).tolist()
        [[1.0, 1.0, 0.75, 0.25, 0.0, 0.0]]
    """
    for axis, part in enumerate(window):
        places = torch.arange(mask.shape[axis], device=mask.device, dtype=mask.dtype) + 0.5
        ramp = torch.ones_like(places)
        if part.start > 0:
            ramp = ramp * ((places - part.start) / width).clamp(0, 1)
        if part.stop < mask.shape[axis]:
            ramp = ramp * ((part.stop - places) / width).clamp(0, 1)
        mask = mask * (ramp[:, None] if axis == 0 else ramp)
    return mask


def set_in(image: Tensor, edited: Tensor, mask: Tensor) -> Tensor:
    """Puts the masked part of an edited image into the original, its colours matched at the seam.

    What the two differ by along the seam, blurred, is added to the edited image there, and ever less of it towards the
    inside, so that a difference of light or white balance leaves no edge and a new skin tone stays what it is.

    Args:
        image: uint8 [3, H, W], RGB.
        edited: float [3, H, W], RGB in [0, 1].
        mask: float [H, W] in [0, 1].

    Returns:
        uint8 [3, H, W]; where the mask is 0, the very numbers of `image`.
    """
    original = image.to(edited) / 255
    seam = 4 * mask * (1 - mask)
    if bool((seam > 0).any()):
        blurred = _blur(torch.cat([seam * (original - edited), seam[None]]), float(mask.sum()) ** 0.5 / 8)
        offset = blurred[:3] / blurred[3:].clamp(min=1e-6)
        edited = edited + (1 - mask) * offset
    blended = mask * edited + (1 - mask) * original
    return torch.where(mask > 0, (blended.clamp(0, 1) * 255).round().to(torch.uint8), image)


def _blur(planes: Tensor, sigma: float) -> Tensor:
    """Planes [C, H, W], blurred by a Gaussian of so many pixels, at least one."""
    sigma = max(sigma, 1.0)
    radius = min(int(3 * sigma), min(planes.shape[-2:]) - 1)  # reflected at the borders, so less than a side
    if not radius:
        return planes
    size = 2 * radius + 1  # one side after the other: torchvision makes a whole kernel of what it is given at once
    return gaussian_blur(gaussian_blur(planes, [size, 1], [sigma, sigma]), [1, size], [sigma, sigma])
