"""What detector and classifier see in a batch of images: the largest face of each, or every face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fairlit.faces.detection import FaceSelection
from fairlit.faces.detector import Faces
from fairlit.faces.face_classifier import FaceClassifier
from fairlit.io.finiteness import require_finite


@dataclass(frozen=True)
class Observation:
    """Faces in N images, and what a classifier takes them for.

    What is said of an image (`boxes`, `predictions`, `certainty`, `spread`) is said of its largest face.

    Attributes:
        faces: by image, the largest first.
        probabilities: attribute -> [F, K], one row for each face.
        crops: the same faces where a loss is to crop them; None: where they were found.
    """

    faces: Faces
    probabilities: dict[str, Tensor]
    crops: Faces | None = None

    @property
    def has_face(self) -> Tensor:
        """Bool [N]."""
        return self.faces.has_face

    @property
    def boxes(self) -> Tensor:
        """Face boxes [N, 4], xyxy in pixels; all zero where there is no face."""
        return self.spread(self.faces.boxes, 0.0)

    @property
    def predictions(self) -> dict[str, Tensor]:
        """Attribute -> LongTensor [N], the most probable class; -1: no face."""
        return {name: self.spread(rows.argmax(dim=-1), -1) for name, rows in self.probabilities.items()}

    @property
    def certainty(self) -> dict[str, Tensor]:
        """Attribute -> [N], probability of the most probable class; 0: no face."""
        return {name: self.spread(rows.amax(dim=-1), 0.0) for name, rows in self.probabilities.items()}

    def to(self, device: torch.device | str) -> Observation:
        """The same observation with its tensors on `device`."""
        probabilities = {name: rows.to(device) for name, rows in self.probabilities.items()}
        return Observation(self.faces.to(device), probabilities, self.crops and self.crops.to(device))

    def spread(self, rows: Tensor, missing: float) -> Tensor:
        """One row an image, its largest face's, from one row a face; `missing` fills the rows of images without one."""
        largest = self.faces.position == 0
        spread = rows.new_full((self.faces.num_images, *rows.shape[1:]), missing)
        spread[self.faces.image_index[largest]] = rows[largest]
        return spread

    def padded(self, rows: Tensor, most: int, missing: float) -> Tensor:
        """[N, most, ...] from one row a face, in their order; `missing` fills up images with fewer than `most`."""
        padded = rows.new_full((self.faces.num_images, most, *rows.shape[1:]), missing)
        padded[self.faces.image_index, self.faces.position] = rows
        return padded


@torch.no_grad()
def observe(
    images: Tensor,
    detector: Callable[[Tensor], Faces],
    classifier: FaceClassifier,
    *,
    selection: FaceSelection = "largest",
    check: bool = True,
) -> Observation:
    """Find faces and classify them.

    Args:
        images: float [N, 3, H, W], RGB in [0, 1].
        detector: finder of faces, such as `FaceDetector`.
        classifier: classifier of perceived attributes.
        selection: faces found that count.
        check: whether what detector and classifier give has to be finite.

    Raises:
        NotFiniteError: it is not.
    """
    found = detector(images)
    faces = found.largest() if selection == "largest" else found.ordered()
    if check:
        require_finite(faces.boxes, "face detector: boxes")
        require_finite(faces.scores, "face detector: scores")
    logits = classifier.classify(images, faces)
    if check:
        for name, rows in logits.items():
            require_finite(rows, f"classifier: logits of {name!r}")
    return Observation(faces, {name: rows.float().softmax(dim=-1) for name, rows in logits.items()})
