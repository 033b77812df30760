"""Small changes of pictures that must not change what the encoders and classifiers see in them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def jitter(
    images: Tensor, generator: torch.Generator, *, shift: float = 0.08, zoom: float = 0.08, flip: bool = True
) -> Tensor:
    """Moves, zooms, mirrors, brightens, tints, blurs and adds noise, each picture by its own random amount.

    Args:
        images: float32 [N, 3, H, W] in 0-1.
        generator: the source of randomness.
        shift: largest shift as a share of the picture.
        zoom: largest relative change of size.
        flip: mirrors every other picture.

    Returns:
        The same shape and range.
    """
    n = len(images)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(n, *shape, generator=generator)

    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0) if flip else torch.ones(n)
    scale = uniform(1 - zoom, 1 + zoom)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = scale * mirror, scale
    theta[:, :, 2] = uniform(-2 * shift, 2 * shift, 2)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    tinted = moved * uniform(0.88, 1.12, 1, 1, 1) * uniform(0.95, 1.05, 3, 1, 1)
    blurred = F.avg_pool2d(tinted, 3, stride=1, padding=1, count_include_pad=False)
    share = (uniform(-0.6, 0.6)).clamp(min=0)[:, None, None, None]
    mixed = tinted + share * (blurred - tinted)
    noise = torch.randn(images.shape, generator=generator) * uniform(-0.04, 0.04).clamp(min=0)[:, None, None, None]
    return (mixed + noise).clamp(0, 1)
