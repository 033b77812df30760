"""Images while their faces are edited, and the orders that name the faces to change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image while it is edited, and the F faces that count in it.

    Attributes:
        pixels: image, uint8 [3, H, W].
        boxes: faces that count, [F, 4].
        labels: joint classes of these faces, int64 [F].
        probabilities: attribute -> [F, K], as the image was at first.
        kept: attribute -> int64 [F], classes of the attributes that are to stay, as the image was at first.
        region: what was regenerated, bool [H, W].
        others: faces that do not count, [G, 4].
    """

    pixels: Tensor
    boxes: Tensor
    labels: Tensor
    probabilities: Mapping[str, Tensor]
    kept: Mapping[str, Tensor]
    region: Tensor
    others: Tensor


@dataclass(kw_only=True)
class FaceOrder:
    """One face that is to change.

    Attributes:
        image: place of its image in the set.
        face: place of the face among those of the image that count.
        target_class: joint class that it is to show.
        prompt: prompt under which it is regenerated.
        tries: number of attempts so far.
        made: whether one of them was accepted.
    """

    image: int
    face: int
    target_class: int
    prompt: str
    tries: int = 0
    made: bool = False

    @property
    def place(self) -> tuple[int, int]:
        """Which face of which image."""
        return self.image, self.face


def places_of_faces(pictures: Sequence[Picture]) -> list[tuple[int, int]]:
    """Return (image, face) of every face that counts, image by image."""
    return [(image, face) for image, picture in enumerate(pictures) for face in range(len(picture.labels))]
