"""What one evaluation step gives: images, and what the judges say of them."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from fairlit.faces.observation import Observation


class Generated(NamedTuple):
    """Images of one prompt by one variant of the model, and what the judges say of them.

    Attributes:
        images: [n, 3, H, W] in [0, 1].
        observation: faces and how the auditing classifier perceives them.
        features: encoder -> normalised image features [n, D].
        text_features: normalised CLIP features of the prompt [1, D]; None without CLIP.
        trained_against: attribute -> [F, K], what the classifier that was trained against takes the faces for; None
            where it is the judge.
    """

    images: Tensor
    observation: Observation
    features: dict[str, Tensor]
    text_features: Tensor | None
    trained_against: dict[str, Tensor] | None = None
