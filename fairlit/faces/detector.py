"""Faces in images: `Faces` says where they are, and a detector finds them.

A detector errs: it misses faces and invents some. What comes later treats an image without a face as ordinary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from fairlit.errors import Problems
from fairlit.faces import mtcnn
from fairlit.faces.detection import (
    FaceDetection,
    FaceSelection,
    check_face_selection,
    warn_renamed,
    with_renamed_settings,
)
from fairlit.faces.mtcnn_networks import load_cascade
from fairlit.pictures.batches import images_at_once


@dataclass(frozen=True)
class Faces:
    """Faces of a batch of images, flat: face f lies in image `image_index[f]`.

    Ordered by image, larger boxes first within an image. An image may have none.

    Attributes:
        image_index: int64 [F].
        boxes: float [F, 4], xyxy in pixels of the image, inside it.
        scores: float [F] in [0, 1], the detector's own confidence.
        landmarks: float [F, 5, 2], (x, y) in pixels: the two eyes, the nose, the two mouth corners, left before
            right as the viewer sees them.
        num_images: Number of images looked at.
    """

    image_index: Tensor
    boxes: Tensor
    scores: Tensor
    landmarks: Tensor
    num_images: int

    @classmethod
    def empty(cls, num_images: int, device: torch.device | str = "cpu") -> Faces:
        """No face in any of `num_images` images."""
        return cls(
            torch.zeros(0, dtype=torch.long, device=device),
            torch.zeros(0, 4, device=device),
            torch.zeros(0, device=device),
            torch.zeros(0, 5, 2, device=device),
            num_images,
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Faces]) -> Faces:
        """The faces of consecutive batches, as if the images had come in one."""
        offsets = [sum(part.num_images for part in parts[:position]) for position in range(len(parts))]
        return cls(
            torch.cat([part.image_index + offset for part, offset in zip(parts, offsets, strict=True)]),
            torch.cat([part.boxes for part in parts]),
            torch.cat([part.scores for part in parts]),
            torch.cat([part.landmarks for part in parts]),
            sum(part.num_images for part in parts),
        )

    def __len__(self) -> int:
        return len(self.image_index)

    @property
    def has_face(self) -> Tensor:
        """Bool [num_images]: which images have at least one face."""
        return self.counts > 0

    @property
    def counts(self) -> Tensor:
        """int64 [num_images]: faces per image."""
        return torch.bincount(self.image_index, minlength=self.num_images)

    @property
    def areas(self) -> Tensor:
        """Float [F]: box areas in square pixels."""
        return (self.boxes[:, 2:] - self.boxes[:, :2]).prod(dim=1)

    def select(self, chosen: Tensor) -> Faces:
        """The faces at `chosen`: a bool mask [F] or int64 indices; the images stay the same."""
        return Faces(
            self.image_index[chosen], self.boxes[chosen], self.scores[chosen], self.landmarks[chosen], self.num_images
        )

    def images(self, start: int, stop: int) -> Faces:
        """The faces of images start..stop - 1, which are numbered from 0 in the result."""
        part = self.select((self.image_index >= start) & (self.image_index < stop))
        return replace(part, image_index=part.image_index - start, num_images=stop - start)

    def ordered(self) -> Faces:
        """The same faces by image, larger boxes first within an image."""
        order = self.areas.argsort(descending=True, stable=True)
        return self.select(order[self.image_index[order].argsort(stable=True)])

    @property
    def position(self) -> Tensor:
        """int64 [F], of ordered faces: each one's number within its image, 0 for the largest."""
        counts = self.counts
        before = counts.cumsum(dim=0) - counts
        return torch.arange(len(self), device=counts.device) - before[self.image_index]

    def largest(self) -> Faces:
        """At most one face an image: the one with the largest box."""
        ordered = self.ordered()
        return ordered.select(ordered.position == 0)

    def to(self, device: torch.device | str) -> Faces:
        """The same faces with their tensors on `device`."""
        return Faces(
            self.image_index.to(device),
            self.boxes.to(device),
            self.scores.to(device),
            self.landmarks.to(device),
            self.num_images,
        )


class FaceDetectorBase(nn.Module, ABC):
    """From images to the faces in them, without gradient.

    Derive a detector of your own from it, and name it by its class path, `my_module.MyDetector`. It finds all faces;
    which of them count, those who ask say.
    """

    @abstractmethod
    def forward(self, images: Tensor) -> Faces:
        """Find the faces of images.

        Args:
            images: float [N, 3, H, W], RGB in [0, 1]; N may be 0. Values outside the range are clamped.

        Returns:
            The faces, ordered by image, on the device of `images`.
        """

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode: owners may switch themselves without touching the detector."""
        return super().train(False)


class FaceDetector(FaceDetectorBase):
    """MTCNN with the weights of facenet-pytorch's wheel, batched, without gradient.

    Nothing in it trains (`requires_grad` is off and it stays in eval mode), so it adds nothing to checkpoints that
    keep what is trainable.

    Args:
        min_size: smallest face side in pixels of the scaled image.
        scale: factor by which images are resized (bilinearly) before detection. Faces that are small in pixels are
            found better enlarged; below 1 it saves time on large images. Boxes come back in pixels of the original.
        thresholds: lowest scores that pass each of the three stages.
        faces: faces of an image to return: the `largest` or `all`.
        min_score: lowest final score of a face that is kept.
        batch_size: number of images that go through the networks together.
        min_face_size: deprecated; use min_size.
        enlarge: deprecated; use scale.
        selection: deprecated; use faces.

    Raises:
        ConfigurationError: An argument is out of range.
        CheckpointError: The weights that facenet-pytorch brings are damaged.
    """

    def __init__(
        self,
        *,
        min_size: float = 20.0,
        scale: float = 1.0,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
        faces: FaceSelection = "largest",
        min_score: float = 0.0,
        batch_size: int = 32,
        min_face_size: float | None = None,
        enlarge: float | None = None,
        selection: FaceSelection | None = None,
    ) -> None:
        super().__init__()
        if selection is not None:
            warn_renamed("selection", "faces", selection)
            faces = selection
        with Problems("face detector") as problems:
            settings = None
            with problems.collecting():
                settings = FaceDetection(min_size=min_size, scale=scale, min_score=min_score, batch_size=batch_size)
                settings = with_renamed_settings(settings, min_face_size=min_face_size, enlarge=enlarge)
            if len(thresholds) != 3 or any(not 0 <= threshold <= 1 for threshold in thresholds):
                problems.add(f"thresholds: got {thresholds}; expected three numbers in [0, 1]; give one for each stage")
            check_face_selection(faces, problems)
        assert settings is not None
        self.settings, self.faces, self.thresholds = settings, faces, tuple(thresholds)
        self.pnet, self.rnet, self.onet = load_cascade()
        self.to(memory_format=torch.channels_last)
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def from_settings(cls, detection: FaceDetection, faces: FaceSelection = "all") -> FaceDetector:
        """Build the detector of a config's settings.

        Args:
            detection: settings of the config.
            faces: faces of an image to return.
        """
        return cls(
            min_size=detection.min_size,
            scale=detection.scale,
            faces=faces,
            min_score=detection.min_score,
            batch_size=detection.batch_size,
        )

    @torch.no_grad()
    def forward(self, images: Tensor) -> Faces:
        """Find faces; see `FaceDetectorBase.forward`."""
        if len(images) == 0:
            return Faces.empty(0, images.device)
        pixels = round(images[0, 0].numel() * self.settings.scale**2)
        at_once = images_at_once(pixels, self.settings.batch_size)
        faces = Faces.concatenate([self._detect(chunk) for chunk in images.split(at_once)])
        return faces.largest() if self.faces == "largest" else faces

    def _detect(self, images: Tensor) -> Faces:
        height, width = images.shape[-2:]
        size = (round(height * self.settings.scale), round(width * self.settings.scale))
        with torch.autocast(images.device.type, enabled=False):  # thresholds were set for full precision
            found, landmarks = mtcnn.detect(
                self._scaled(images, size), self.pnet, self.rnet, self.onet, self.settings.min_size, self.thresholds
            )
        back = found.boxes.new_tensor([width / size[1], height / size[0]])
        limit = found.boxes.new_tensor([width, height])
        corners = (found.boxes.unflatten(1, (2, 2)) * back).clamp(min=0).minimum(limit)
        boxes = corners.flatten(1)
        faces = Faces(found.image_index, boxes, found.scores, landmarks * back, len(images))
        faces = faces.select((faces.areas > 0) & (faces.scores >= self.settings.min_score))
        order = faces.areas.argsort(descending=True, stable=True)
        return faces.select(order[faces.image_index[order].argsort(stable=True)])

    def _scaled(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        pixels = images.detach().float().clamp(0, 1)
        if self.settings.scale == 1:
            return pixels
        return functional.interpolate(
            pixels, size=size, mode="bilinear", align_corners=False, antialias=self.settings.scale < 1
        )
