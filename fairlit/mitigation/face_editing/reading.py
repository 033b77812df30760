"""What detector and classifier see in images of any sizes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fairlit.faces import FaceClassifier, FaceDetectorBase
from fairlit.faces.detection import FaceSelection
from fairlit.faces.observation import Observation, observe
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.statistics.counts import joint_classes
from fairlit.mitigation.face_editing.pictures import Picture
from fairlit.pictures.batches import images_at_once


@dataclass(frozen=True, kw_only=True)
class PictureReader:
    """Turns images into pictures: faces that count, faces that do not, and their classes.

    Attributes:
        detector: finder of all faces of an image.
        classifier: classifier of the faces.
        target: attributes and classes of the labels.
        faces: faces of an image that count.
        kept: attributes whose classes are noted beside those of the target.
        batch_size: largest number of images of one size that go through the models together; there are fewer where
            they have many pixels.
    """

    detector: FaceDetectorBase
    classifier: FaceClassifier
    target: TargetDistribution
    faces: FaceSelection
    kept: Sequence[str]
    batch_size: int

    @torch.no_grad()
    def __call__(self, images: Sequence[Tensor]) -> list[Picture]:
        """Return what is seen in images uint8 [3, H, W], in their order."""
        found: dict[int, Picture] = {}
        order = sorted(range(len(images)), key=lambda place: tuple(images[place].shape))
        for _, same in itertools.groupby(order, key=lambda place: tuple(images[place].shape)):
            places = list(same)
            size = images_at_once(images[places[0]][0].numel(), self.batch_size)
            for start in range(0, len(places), size):
                batch = places[start : start + size]
                found.update(zip(batch, self._read([images[place] for place in batch]), strict=True))
        return [found[place] for place in range(len(images))]

    def observe(self, images: Tensor) -> Observation:
        """Return what is seen in the faces that count, on the CPU.

        Args:
            images: float [N, 3, H, W] in [0, 1].
        """
        return observe(images.to(self.classifier.device), self.detector, self.classifier, selection=self.faces).to(
            "cpu"
        )

    def _read(self, images: Sequence[Tensor]) -> list[Picture]:
        """Pictures of images of one size."""
        pixels = torch.stack(list(images)).to(self.classifier.device).float().div_(255)
        seen = observe(pixels, self.detector, self.classifier, selection="all").to("cpu")
        counts = seen.faces.position == 0 if self.faces == "largest" else torch.ones(len(seen.faces), dtype=torch.bool)
        classes = {name: rows.argmax(dim=1) for name, rows in seen.probabilities.items()}
        labels = joint_classes(
            torch.stack([classes[name] for name in self.target.attributes], dim=1), tuple(self.target.table.shape)
        )
        pictures = []
        for place, image in enumerate(images):
            here = seen.faces.image_index == place
            own = here & counts
            pictures.append(
                Picture(
                    pixels=image,
                    boxes=seen.faces.boxes[own],
                    labels=labels[own],
                    probabilities={name: seen.probabilities[name][own] for name in self.target.attributes},
                    kept={name: classes[name][own] for name in self.kept},
                    region=torch.zeros(image.shape[-2:], dtype=torch.bool),
                    others=seen.faces.boxes[here & ~counts],
                )
            )
        return pictures
