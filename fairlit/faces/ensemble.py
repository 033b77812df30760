"""Several classifiers as one: where each draws its border through ambiguous faces is an accident of its training."""

from __future__ import annotations

import json
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from fairlit.errors import ConfigurationError
from fairlit.faces.detector import Faces
from fairlit.faces.face_classifier import FaceClassifier


class ClassifierEnsemble(FaceClassifier):
    """Takes the mean of the probabilities of several classifiers (Lakshminarayanan et al., NeurIPS 2017).

    Losses do not use that mean: they are the mean over `members` of the loss of each, so that a face that one of them
    takes for another class goes on being moved, however sure the others are.

    Args:
        classifiers: classifiers of the same attributes and classes, in the same order.

    Raises:
        ConfigurationError: there is none, or they know different classes.
    """

    def __init__(self, classifiers: Sequence[FaceClassifier]) -> None:
        super().__init__()
        if not classifiers:
            raise ConfigurationError("classifier: got an empty list; expected at least one; give a folder")
        self._members = nn.ModuleList(classifiers)
        for other in classifiers[1:]:
            if list(other.classes.items()) != list(self.classes.items()):
                raise ConfigurationError(
                    f"classifier: got classifiers of different classes, {self.classes} and {other.classes}; expected "
                    "the same attributes and classes in the same order; give others"
                )

    @property
    def members(self) -> tuple[FaceClassifier, ...]:
        """The classifiers."""
        return tuple(member for member in self._members if isinstance(member, FaceClassifier))

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """Class names of each attribute, in the order of the logits' columns."""
        return self.members[0].classes

    @property
    def temperature(self) -> dict[str, float]:
        """1 for each attribute: every member has divided by its own."""
        return dict.fromkeys(self.classes, 1.0)

    @property
    def fingerprint(self) -> str:
        """Those of its members, in their order."""
        return json.dumps([member.fingerprint for member in self.members])

    @property
    def size(self) -> int:
        """Side of the crops, in pixels; members that look at others get them resized."""
        return max(member.size for member in self.members)

    def forward(self, faces: Tensor) -> dict[str, Tensor]:
        """Return the logarithm of the mean probability of every class, [F, K] for each attribute.

        Args:
            faces: float [F, 3, s, s], RGB in [0, 1]; F may be 0.
        """
        return self._mean([member(_resized(faces, member.size)) for member in self.members])

    def classify(self, images: Tensor, faces: Faces) -> dict[str, Tensor]:
        """Return the logarithm of the mean probability of every class, each member with crops of its own.

        Args:
            images: float [N, 3, H, W], RGB in [0, 1].
            faces: F faces in these images; F may be 0.
        """
        return self._mean([member.classify(images, faces) for member in self.members])

    def _mean(self, logits: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        mean = {}
        for name in self.classes:
            each = torch.stack([one[name].float().log_softmax(dim=1) for one in logits])
            mean[name] = each.logsumexp(dim=0) - torch.tensor(float(len(logits))).log().to(each)
        return mean


def _resized(faces: Tensor, size: int) -> Tensor:
    if faces.shape[-1] == size or len(faces) == 0:
        return faces
    return functional.interpolate(faces, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
