"""Settings and results of editing faces, see `editor.FaceEditor`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fairlit.diffusion.settings import check_guidance_scale
from fairlit.errors import Problems

if TYPE_CHECKING:
    from torch import Tensor

Region = Literal["face", "image"]
"""What the model is shown: the face with some of what is around it, at the model's own size, or the whole image."""


@dataclass(frozen=True)
class FaceEditing:
    """How a face is regenerated.

    Attributes:
        region: ``face``: a window around the face, brought to the size that the model was made for, which suits large
            pictures with small faces; ``image``: the whole picture, for a model that draws such pictures.
        face_share: height of the face in that window, as a share of the window's.
        strength: how much noise the face gets, in (0, 1]: 1 forgets it.
        guidance_scale: scale of classifier-free guidance while a face is regenerated; None: as the images are sampled.
        grow: factor on its box up to which a face is regenerated; hair lies outside the box.
        feather: part of that factor over which the new face fades into what is around it.
        tries: maximum number of attempts, each with noise of its own, until the classifier sees the target class and
            the image's other faces that count as before.
        replans: number of times that other faces are chosen in the place of those that could not be changed.
        min_side: shortest side of a face that may change, in pixels; smaller faces are counted.
        seed: seed of the noise.
    """

    region: Region = "face"
    face_share: float = 0.5
    strength: float = 0.8
    guidance_scale: float | None = None
    grow: float = 1.6
    feather: float = 0.3
    tries: int = 4
    replans: int = 2
    min_side: float = 8.0
    seed: int = 0

    def check(self, problems: Problems) -> None:
        """Note settings out of range."""
        if self.region not in ("face", "image"):
            problems.add(f"region: got {self.region!r}; choose face or image")
        for name in ("face_share", "strength"):
            if not 0 < getattr(self, name) <= 1:
                problems.add(f"{name}: got {getattr(self, name)}; give more than 0, at most 1")
        if self.guidance_scale is not None:
            check_guidance_scale(self.guidance_scale, problems)
        if not self.grow >= 1:
            problems.add(f"grow: got {self.grow}; give at least 1, the face's own box")
        if not 0 < self.feather <= self.grow:
            problems.add(f"feather: got {self.feather}; give more than 0, at most grow")
        for name, least in (("tries", 1), ("replans", 0), ("min_side", 0), ("seed", 0)):
            problems.at_least(name, getattr(self, name), least)


@dataclass(frozen=True, kw_only=True)
class FaceChange:
    """What became of one face that was to change.

    Attributes:
        image: place of its image in the set.
        box: place of the face as it was found, xyxy in pixels.
        before: joint class that it was taken for.
        target_class: joint class that it was to show.
        tries: number of times that it was regenerated.
        instead: whether it was chosen in the place of a face that could not be changed.
        made: whether the classifier sees the target class now; if not, the face is as it was.
    """

    image: int
    box: tuple[float, float, float, float]
    before: int
    target_class: int
    tries: int
    instead: bool
    made: bool


@dataclass(frozen=True, kw_only=True)
class EditedSet:
    """A set of images after editing.

    Attributes:
        images: images after editing, uint8 [3, H, W], as before outside `regions`.
        regions: what belongs to the faces that were regenerated, bool [H, W] for each image.
        changes: faces that were to change, in the order in which that was settled.
        fewest: how many faces had to change at least, see `functional.alignment.fewest_changes`.
        labels_before: joint classes of the faces of each image, int64 [F], as they were.
        labels: joint classes of the same faces now.
        classes: number K of joint classes.
    """

    images: list[Tensor]
    regions: list[Tensor]
    changes: list[FaceChange]
    fewest: int
    labels_before: list[Tensor]
    labels: list[Tensor]
    classes: int

    @property
    def before(self) -> Tensor:
        """Faces of each joint class as they were, int64 [K]."""
        return joined(self.labels_before).bincount(minlength=self.classes)

    @property
    def after(self) -> Tensor:
        """Faces of each joint class now, int64 [K]."""
        return joined(self.labels).bincount(minlength=self.classes)


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Return int64 [N] from int64 parts, of which there may be none."""
    import torch

    return torch.cat([torch.zeros(0, dtype=torch.long), *parts])
