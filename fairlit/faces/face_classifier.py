"""What training and audit need of a classifier of perceived attributes, whatever it is made of."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import Tensor, nn

from fairlit.errors import ConfigurationError
from fairlit.faces.detector import Faces
from fairlit.faces.reliability import Reliability, reliability


class FaceClassifier(nn.Module, ABC):
    """From images and the faces in them to logits of attributes.

    What it says is how a face is perceived by those who labelled or described faces, not who somebody is; and it errs.
    """

    frozen: bool = False

    @property
    @abstractmethod
    def classes(self) -> dict[str, tuple[str, ...]]:
        """Class names of each attribute, in the order of the logits' columns."""

    @property
    @abstractmethod
    def temperature(self) -> dict[str, float]:
        """What the logits of each attribute have been divided by."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Side of the crops that it looks at, in pixels."""

    @property
    def members(self) -> tuple[FaceClassifier, ...]:
        """The classifiers whose losses are averaged: itself, unless it is made of several."""
        return (self,)

    @property
    def device(self) -> torch.device:
        """Device of its weights; the CPU where it has none."""
        tensor = next(itertools.chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if tensor is None else tensor.device

    @property
    def confusion(self) -> dict[str, Tensor]:
        """For each validated attribute int64 [K, K]: faces labelled with the row's class, taken for the column's."""
        return {}

    @property
    def fingerprint(self) -> str:
        """A text that changes with all that decides its answers apart from its weights."""
        return ""

    @property
    def reliability(self) -> dict[str, Reliability]:
        """What `confusion` says of each validated attribute."""
        return reliability({name: table.tolist() for name, table in self.confusion.items()}, self.classes)

    @abstractmethod
    def forward(self, faces: Tensor) -> dict[str, Tensor]:
        """Logits of every attribute.

        Args:
            faces: float [F, 3, s, s], RGB in [0, 1], cropped as the classifier crops; F may be 0.

        Returns:
            For each attribute [F, K], already divided by its temperature.
        """

    @abstractmethod
    def classify(self, images: Tensor, faces: Faces) -> dict[str, Tensor]:
        """Classifies faces.

        Args:
            images: float [N, 3, H, W], RGB in [0, 1].
            faces: F faces in these images; F may be 0.

        Returns:
            Logits of each attribute, [F, K], differentiable with respect to `images`.
        """

    def crop(self, images: Tensor, faces: Faces) -> Tensor:
        """Return what `forward` is given of faces; classifiers that are part of fairlit tell it, others may.

        Args:
            images: float [N, 3, H, W], RGB in [0, 1].
            faces: F faces in these images; F may be 0.

        Returns:
            [F, 3, h, w], differentiable with respect to `images`.

        Raises:
            ConfigurationError: the classifier does not tell.
        """
        raise ConfigurationError(
            f"classifier: got {type(self).__name__}, which does not tell how it crops faces; expected a method "
            "crop(images, faces); write one, which gives what its forward is to be given"
        )

    def freeze(self) -> Self:
        """Fixes the weights and the batch statistics for good: it then stays in eval mode whoever owns it."""
        self.frozen = True
        self.requires_grad_(False)
        return self.eval()

    def train(self, mode: bool = True) -> Self:
        """As usual, but without effect on a frozen classifier."""
        return super().train(mode and not self.frozen)
