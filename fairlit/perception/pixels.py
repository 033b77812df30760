"""From images in [0, 1] to what a pretrained image encoder expects, differentiably."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from fairlit.perception.image_processor import PixelSettings, read_pixel_settings


class PixelNormalizer(nn.Module):
    """Bicubic, antialiased resize to a square, then mean and standard deviation.

    The whole picture is resized, not a central crop, so that nothing in it escapes a comparison; for square
    images the two are the same.

    Args:
        size: Side of the encoder's input in pixels.
        mean: Subtracted from each channel of images in [0, 1].
        std: Each channel is then divided by it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    @classmethod
    def from_pretrained(
        cls, path: str, size: int, mean: tuple[float, ...], std: tuple[float, ...], local_files_only: bool = False
    ) -> PixelNormalizer:
        """What the image processor saved beside a model says, or else the values given.

        Args:
            path: Folder or hub id of the model.
            size: Side where no processor states one.
            mean: Channel means where no processor states them.
            std: Channel deviations where no processor states them.
            local_files_only: Never ask the hub.

        Raises:
            CheckpointError: Its config is damaged.
            ConfigurationError: It does more than resize, crop, rescale and normalise.
        """
        defaults = PixelSettings(size=size, mean=mean, std=std)
        found = read_pixel_settings(path, defaults, local_files_only=local_files_only)
        return cls(found.size, found.mean, found.std)

    def forward(self, images: Tensor) -> Tensor:
        """Resizes and normalises.

        Args:
            images: float [N, 3, H, W], RGB in [0, 1].

        Returns:
            [N, 3, size, size] in the encoder's units; at least float32.
        """
        images = images.to(torch.promote_types(images.dtype, torch.float32))
        size = (self.size, self.size)
        if images.shape[-2:] != size:
            images = functional.interpolate(images, size=size, mode="bicubic", align_corners=False, antialias=True)
        return (images - self.mean) / self.std
