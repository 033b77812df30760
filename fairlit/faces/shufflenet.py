"""ShuffleNet V2 (Ma et al., ECCV 2018, arXiv 1807.11164), with torchvision's names of parameters.

The classifiers of the embedded models are of this kind. Torchvision's class is not used: importing torchvision takes
longer than all else in an audit of a few images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fairlit.errors import ConfigurationError


class ShuffleUnit(nn.Module):
    """Half of the channels pass by, the other half is convolved, and both are mixed.

    Args:
        channels_in: number of channels that come in.
        channels: number of channels that go out, even.
        stride: 1, or 2 for a unit that halves the sides: then all channels that come in go both ways.
    """

    def __init__(self, channels_in: int, channels: int, *, stride: int) -> None:
        super().__init__()
        half = channels // 2
        shrinks = stride > 1
        self.branch1 = (
            nn.Sequential(*_depthwise(channels_in, stride), *_convolution(channels_in, half, 1))
            if shrinks
            else nn.Sequential()
        )
        self.branch2 = nn.Sequential(
            *_convolution(channels_in if shrinks else half, half, 1),
            *_depthwise(half, stride),
            *_convolution(half, half, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return [N, channels, H / stride, W / stride] of [N, channels_in, H, W]."""
        passing, convolved = (features, features) if len(self.branch1) else features.chunk(2, dim=1)
        both = torch.stack([self.branch1(passing), self.branch2(convolved)], dim=2)
        return both.flatten(1, 2)  # a channel of the one, a channel of the other


class ShuffleNet(nn.Module):
    """From images [N, 3, H, W] to logits of the thousand classes of ImageNet.

    Args:
        stages_repeats: numbers of units of the three stages.
        stages_out_channels: numbers of channels behind the first convolution, the three stages and the last
            convolution; those of the stages are even.

    Raises:
        ConfigurationError: A list has another length, or a number is not positive.
    """

    def __init__(self, stages_repeats: Sequence[int], stages_out_channels: Sequence[int]) -> None:
        super().__init__()
        _check("stages_repeats", stages_repeats, 3)
        _check("stages_out_channels", stages_out_channels, 5)
        first, *stages, last = stages_out_channels
        if odd := [channels for channels in stages if channels % 2]:
            raise ConfigurationError(
                f"stages_out_channels: got {odd[0]} channels of a stage; expected an even number; add one"
            )
        self.conv1 = nn.Sequential(*_convolution(3, first, 3, stride=2))
        self.stage2, self.stage3, self.stage4 = (
            nn.Sequential(
                ShuffleUnit(before, channels, stride=2),
                *(ShuffleUnit(channels, channels, stride=1) for _ in range(repeats - 1)),
            )
            for before, channels, repeats in zip([first, *stages], stages, stages_repeats, strict=False)
        )
        self.conv5 = nn.Sequential(*_convolution(stages[-1], last, 1))
        self.fc = nn.Linear(last, 1000)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, 1000] of normalised images [N, 3, H, W]."""
        features = nn.functional.max_pool2d(self.conv1(images), 3, stride=2, padding=1)
        features = self.conv5(self.stage4(self.stage3(self.stage2(features))))
        return self.fc(features.mean(dim=(2, 3)))


def _convolution(channels_in: int, channels: int, size: int, *, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(channels_in, channels, size, stride=stride, padding=size // 2, bias=False)
    return convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)


def _depthwise(channels: int, stride: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False)
    return convolution, nn.BatchNorm2d(channels)


def _check(name: str, numbers: Sequence[int], length: int) -> None:
    if len(numbers) != length or any(number < 1 for number in numbers):
        raise ConfigurationError(
            f"{name}: got {list(numbers)}; expected {length} whole numbers, 1 or more; correct the classifier's config"
        )
