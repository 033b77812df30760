"""The image preservation loss: what the prompt asked for must stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

from fairlit.errors import Problems
from fairlit.functional.alignment.assignment import Assignment
from fairlit.functional.alignment.preservation import change_factors, image_factors, overlap_scale, scale_gradient

Unsure = Literal["change", "keep"]
"""What a face is that has no confident target: one that must change, or one that must not unless its label says so."""


@dataclass(frozen=True)
class FaceChanges:
    """Target labels of the F faces in some images, and what the same faces were in the reference images.

    Attributes:
        image_index: int64 [F], the image each face lies in.
        boxes: [F, 4] xyxy in pixels, the faces now.
        reference_boxes: [F, 4], the same faces in the reference images; all zero: none there.
        target_labels: attribute -> LongTensor [F], the class to become, see `ImagePreservationLoss.settle`.
        reference_labels: attribute -> LongTensor [F], the class predicted for the same face in the reference image;
            -1: none there.
    """

    image_index: Tensor
    boxes: Tensor
    reference_boxes: Tensor
    target_labels: Mapping[str, Tensor]
    reference_labels: Mapping[str, Tensor]


@dataclass(frozen=True)
class ImagePreservationLoss:
    """Keeps an image close to its reference: what the original model draws from the same noise.

    L_image = lambda_i sum over encoders of (1 - cos(f(x_i), f(o_i))), with lambda_i and the gradient inside the face
    lowered where an attribute must change (Shen et al., ICLR 2024, section 4.3, where they are factors 1 and 2).

    Attributes:
        weight: factor on the loss; 0 switches it off.
        image_loss_scale: attribute -> factor on the loss of an image in which this attribute must change.
        face_gradient_scale: attribute -> factor on the loss's gradient inside a face whose attribute must change.
        unsure: meaning of a face whose assigned class is less certain than `alignment.threshold`. `change`: the
            attribute counts as one that must change, as in the published code, for both factors and for face realism.
            `keep`: its most probable class counts, so that a face that is of this class already is kept.
    """

    weight: float = 8.0
    image_loss_scale: dict[str, float] = field(default_factory=dict)
    face_gradient_scale: dict[str, float] = field(default_factory=dict)
    unsure: Unsure = "keep"

    def __post_init__(self) -> None:
        with Problems("preservation") as problems:
            problems.at_least("weight", self.weight, 0)
            for name, scales in self._scales().items():
                for attribute, scale in scales.items():
                    if not 0 <= scale <= 1:
                        problems.add(f"{name}.{attribute}: got {scale}; expected a factor between 0 and 1")
            if self.unsure not in get_args(Unsure):
                problems.add(f"unsure: got {self.unsure!r}; choose change or keep")

    def _scales(self) -> dict[str, dict[str, float]]:
        return {"image_loss_scale": self.image_loss_scale, "face_gradient_scale": self.face_gradient_scale}

    def check(self, attributes: Mapping[str, object], problems: Problems) -> None:
        """Note the attributes of a target for which no factor is given; factors of further attributes lie idle."""
        for name, scales in self._scales().items():
            if missing := [attribute for attribute in attributes if attribute not in scales]:
                problems.add(
                    f"preservation.{name}: got nothing for {', '.join(missing)}; expected a factor for each attribute "
                    "of the target; add it"
                )

    def settle(self, assignment: Assignment, threshold: float) -> dict[str, Tensor]:
        """Return the labels by which faces are kept or freed: attribute -> LongTensor [F].

        Args:
            assignment: of F faces.
            threshold: least confidence of a certain class.
        """
        return assignment.labels if self.unsure == "keep" else assignment.decided(threshold)

    def free_faces(self, images: Tensor, faces: FaceChanges) -> Tensor:
        """Return the images unchanged, their gradient lowered where a face that must change was and is.

        Args:
            images: [N, 3, H, W].
            faces: in these images.
        """
        factors = change_factors(faces.target_labels, faces.reference_labels, self.face_gradient_scale)
        size = (len(images), *images.shape[-2:])
        scale = overlap_scale(faces.boxes, faces.reference_boxes, factors, image_index=faces.image_index, size=size)
        return scale_gradient(images, scale.to(images))

    def __call__(
        self, features: Mapping[str, Tensor], reference_features: Mapping[str, Tensor], faces: FaceChanges
    ) -> Tensor:
        """Return the summed (not averaged) loss of N images, times the weight.

        Args:
            features: encoder -> normalised features [N, D] of the images.
            reference_features: the same of the reference images.
            faces: in these images.
        """
        distances = [1 - (found * reference_features[name]).sum(dim=-1) for name, found in features.items()]
        without_face = min(self.image_loss_scale[name] for name in faces.target_labels)
        of_faces = change_factors(faces.target_labels, faces.reference_labels, self.image_loss_scale)
        factors = image_factors(of_faces, faces.image_index, len(distances[0]), without_face=without_face)
        return self.weight * (factors.to(distances[0]) * torch.stack(distances).sum(dim=0)).sum()
