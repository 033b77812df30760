"""Random changes of face crops, for training classifiers."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms import v2

from fairlit.errors import ConfigurationError


class FaceAugmentation(torch.nn.Module):
    """Random changes that leave perceived attributes as they are, so that a classifier is harder to fool.

    Flip, small affine move, colour jitter, blur, noise. Generated faces are blurred and noisy in their own way, and a
    classifier that gives gradients must not have a cheap pattern to be satisfied by.

    Args:
        strength: Scales every change; 0 leaves images alone.
        group: Images that share one draw of the random numbers; more is faster, 1 is the most varied.
    """

    def __init__(self, strength: float = 1.0, group: int = 4) -> None:
        super().__init__()
        if strength < 0 or group < 1:
            raise ConfigurationError(f"strength is {strength}, group is {group}: give 0 or more, and 1 or more")
        self.strength, self.group = strength, group
        self.transform = v2.Compose(
            [
                v2.RandomHorizontalFlip(0.5),
                v2.RandomAffine(
                    degrees=10 * strength,
                    translate=(min(0.06 * strength, 1.0),) * 2,
                    scale=(1 / (1 + 0.12 * strength), 1 + 0.12 * strength),
                    interpolation=v2.InterpolationMode.BILINEAR,
                    fill=0.5,
                ),
                v2.ColorJitter(brightness=min(0.15 * strength, 1.0), contrast=0.15 * strength),
                v2.RandomApply([v2.GaussianBlur(3, sigma=(0.2, 0.2 + strength))], p=min(0.3 * strength, 1.0)),
            ]
        )

    def forward(self, faces: Tensor) -> Tensor:
        """Changes images.

        Args:
            faces: float [N, 3, s, s] in [0, 1].

        Returns:
            The same shape and range.
        """
        if self.strength == 0 or len(faces) == 0:
            return faces
        changed = torch.cat([self.transform(part) for part in faces.split(self.group)])
        level = 0.04 * self.strength * torch.rand(len(faces), 1, 1, 1, device=faces.device)
        return (changed + level * torch.randn_like(changed)).clamp(0, 1)
