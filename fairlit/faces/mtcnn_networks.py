"""The three networks of the MTCNN cascade (Zhang et al., 2016, arXiv 1604.02878, figure 2).

Parameters are named as in the files of weights that facenet-pytorch's wheel brings, from which they are read. Its
classes are not used: importing them imports torchvision, which takes longer than all else in an audit of a few images.

Every network takes pixels in [-1, 1] and returns the regression of the box and the probabilities (no face, face); the
last one returns five landmarks in between, five x and then five y.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from fairlit.errors import CheckpointError
from fairlit.faces.weights import load_weights


class ProposalNetwork(nn.Module):
    """Scan images for windows of 12 px that may hold a face, one for every second pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return regression [N, 4, H', W'] and probabilities [N, 2, H', W'] of images [N, 3, H, W]."""
        features = _pooled(self.prelu1(self.conv1(pixels)), 2)
        features = self.prelu3(self.conv3(self.prelu2(self.conv2(features))))
        return self.conv4_2(features), self.conv4_1(features).softmax(dim=1)


class RefinementNetwork(nn.Module):
    """Score proposals at 24 px."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return regression [N, 4] and probabilities [N, 2] of patches [N, 3, 24, 24]."""
        features = _pooled(self.prelu1(self.conv1(pixels)), 3)
        features = _pooled(self.prelu2(self.conv2(features)), 3)
        features = self.prelu4(self.dense4(_flattened(self.prelu3(self.conv3(features)))))
        return self.dense5_2(features), self.dense5_1(features).softmax(dim=1)


class OutputNetwork(nn.Module):
    """Score proposals at 48 px and place landmarks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), nn.PReLU(32)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1, self.dense6_2, self.dense6_3 = nn.Linear(256, 2), nn.Linear(256, 4), nn.Linear(256, 10)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return regression [N, 4], landmarks [N, 10] and probabilities [N, 2] of patches [N, 3, 48, 48]."""
        features = _pooled(self.prelu1(self.conv1(pixels)), 3)
        features = _pooled(self.prelu2(self.conv2(features)), 3)
        features = _pooled(self.prelu3(self.conv3(features)), 2)
        features = self.prelu5(self.dense5(_flattened(self.prelu4(self.conv4(features)))))
        return self.dense6_2(features), self.dense6_3(features), self.dense6_1(features).softmax(dim=1)


def load_cascade() -> tuple[ProposalNetwork, RefinementNetwork, OutputNetwork]:
    """Return the three networks with the weights that facenet-pytorch's wheel brings.

    Raises:
        CheckpointError: facenet-pytorch or a file of it is missing or damaged.
    """
    package = find_spec("facenet_pytorch")  # finds the folder and imports nothing
    if package is None or not package.submodule_search_locations:
        raise CheckpointError("face detector: got no package 'facenet_pytorch'; expected its weights; install it again")
    weights = Path(package.submodule_search_locations[0]) / "data"
    networks = ProposalNetwork(), RefinementNetwork(), OutputNetwork()
    for network, name in zip(networks, ("pnet", "rnet", "onet"), strict=True):
        try:
            load_weights(network, weights / f"{name}.pt")
        except CheckpointError as error:
            raise CheckpointError(f"face detector: {error}; install facenet-pytorch again") from error
    return networks


def _pooled(features: Tensor, size: int) -> Tensor:
    """The largest of every second window; windows that reach over the edge count too."""
    return max_pool2d(features, size, stride=2, ceil_mode=True)


def _flattened(features: Tensor) -> Tensor:
    """[N, W * H * C] of [N, C, H, W]: the order in which the dense layers were trained."""
    return features.permute(0, 3, 2, 1).flatten(1)
