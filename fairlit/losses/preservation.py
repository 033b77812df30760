"""The image preservation loss: what the prompt asked for must stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fairlit.errors import Problems
from fairlit.functional.alignment.preservation import change_factors, image_factors, overlap_scale, scale_gradient


@dataclass(frozen=True)
class FaceChanges:
    """What the F faces in some images are to become, and what they were in the original images.

    Attributes:
        image_index: int64 [F], the image each face lies in.
        boxes: [F, 4] xyxy in pixels, the faces now.
        original_boxes: [F, 4], the same faces in the original images; all zero: none there.
        labels: attribute -> LongTensor [F], the class to become.
        originals: attribute -> LongTensor [F], the class predicted for the same face in the original; -1: none there.
    """

    image_index: Tensor
    boxes: Tensor
    original_boxes: Tensor
    labels: Mapping[str, Tensor]
    originals: Mapping[str, Tensor]


@dataclass(frozen=True)
class ImagePreservationLoss:
    """Keeps an image close to the one that the original model draws from the same noise.

    L_image = lambda_i sum over encoders of (1 - cos(f(x_i), f(o_i))), with lambda_i and the gradient inside the face
    lowered where an attribute must change (Shen et al., ICLR 2024, section 4.3).

    Attributes:
        weight: factor on the loss; 0 switches it off.
        factor1: attribute -> factor on the loss of an image in which this attribute must change.
        factor2: attribute -> factor on the loss's gradient inside the face when this attribute must change.
    """

    weight: float = 8.0
    factor1: dict[str, float] = field(default_factory=dict)
    factor2: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with Problems("preservation") as problems:
            problems.at_least("weight", self.weight, 0)
            for name, factors in (("factor1", self.factor1), ("factor2", self.factor2)):
                for attribute, factor in factors.items():
                    if not 0 <= factor <= 1:
                        problems.add(f"{name}.{attribute}: got {factor}; a factor lies between 0 and 1")

    def check(self, attributes: Mapping[str, object], problems: Problems) -> None:
        """Notes the attributes of a target for which no factor is given; factors of further attributes lie idle."""
        for name, factors in (("factor1", self.factor1), ("factor2", self.factor2)):
            if missing := [attribute for attribute in attributes if attribute not in factors]:
                problems.add(
                    f"preservation.{name}: nothing for {', '.join(missing)}; give each attribute of the target one"
                )

    def free_faces(self, images: Tensor, faces: FaceChanges) -> Tensor:
        """The images unchanged, their gradient lowered where a face that must change was and is.

        Args:
            images: [N, 3, H, W].
            faces: in these images.
        """
        factors = change_factors(faces.labels, faces.originals, self.factor2)
        size = (len(images), *images.shape[-2:])
        scale = overlap_scale(faces.boxes, faces.original_boxes, factors, faces.image_index, size)
        return scale_gradient(images, scale.to(images))

    def __call__(
        self, features: Mapping[str, Tensor], original_features: Mapping[str, Tensor], faces: FaceChanges
    ) -> Tensor:
        """Summed (not averaged) loss of N images, times the weight.

        Args:
            features: encoder -> normalised features [N, D] of the images.
            original_features: the same of the originals.
            faces: in these images.
        """
        distances = [1 - (found * original_features[name]).sum(dim=-1) for name, found in features.items()]
        least = min(self.factor1[name] for name in faces.labels)
        of_faces = change_factors(faces.labels, faces.originals, self.factor1)
        factors = image_factors(of_faces, faces.image_index, len(distances[0]), least)
        return self.weight * (factors.to(distances[0]) * torch.stack(distances).sum(dim=0)).sum()
