"""Settings and results of editing faces, see `face_editor`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fairlit.diffusion import check_guidance_scale
from fairlit.errors import Problems

Region = Literal["face", "image"]
"""What the model is shown: the face with some of what is around it, at the model's own size, or the whole image."""


@dataclass(frozen=True)
class FaceEditing:
    """How a face is made anew.

    Attributes:
        region: ``face``: a window around the face, brought to the size that the model was made for, which suits large
            pictures with small faces; ``image``: the whole picture, for a model that draws such pictures.
        face_share: height of the face in that window, as a share of the window's.
        strength: how much noise the face gets, in (0, 1]: 1 forgets it.
        guidance_scale: of classifier-free guidance while a face is made anew; None: as the images are sampled.
        grow: how far around its box a face is made anew, as a factor on the box; hair lies outside the box.
        feather: over how much of that factor the new face fades into what is around it.
        tries: at most so many attempts, each with noise of its own, until the classifier sees the wanted class and the
            image's other faces that count as before.
        replans: how often other faces are chosen in the place of those that could not be changed.
        least_side: faces with a shorter side than that, in pixels, are counted but not changed.
        seed: of the noise.
    """

    region: Region = "face"
    face_share: float = 0.5
    strength: float = 0.8
    guidance_scale: float | None = None
    grow: float = 1.6
    feather: float = 0.3
    tries: int = 4
    replans: int = 2
    least_side: float = 8.0
    seed: int = 0

    def check(self, problems: Problems) -> None:
        """Notes settings out of range."""
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
        for name, least in (("tries", 1), ("replans", 0), ("least_side", 0), ("seed", 0)):
            problems.at_least(name, getattr(self, name), least)


@dataclass(frozen=True)
class FaceChange:
    """What became of one face that was to change.

    Attributes:
        image: its image's place in the set.
        box: of the face as it was found, xyxy in pixels.
        before: the joint class that it was taken for, a cell of the target's table.
        wanted: the joint class that it was to show.
        tries: how often it was made anew.
        instead: whether it was chosen in the place of a face that could not be changed.
        made: whether the classifier sees the wanted class now; if not, the face is as it was.
    """

    image: int
    box: tuple[float, float, float, float]
    before: int
    wanted: int
    tries: int
    instead: bool
    made: bool


@dataclass(frozen=True)
class EditedSet:
    """A set of images after editing.

    Attributes:
        images: uint8 [3, H, W] each, as before outside `regions`.
        regions: bool [H, W] each, what belongs to the faces that were made anew.
        changes: faces that were to change, in the order in which that was settled.
        fewest: how many faces had to change at least, see `functional.alignment.fewest_changes`.
        cells_before: joint classes of the faces of each image, int64 [F] each, as they were.
        cells: the same now, in the same order.
        classes: number K of joint classes.
    """

    images: list[Tensor]
    regions: list[Tensor]
    changes: list[FaceChange]
    fewest: int
    cells_before: list[Tensor]
    cells: list[Tensor]
    classes: int

    @property
    def before(self) -> Tensor:
        """Faces of each joint class as they were, int64 [K]."""
        return torch.bincount(joined(self.cells_before), minlength=self.classes)

    @property
    def after(self) -> Tensor:
        """Faces of each joint class now, int64 [K]."""
        return torch.bincount(joined(self.cells), minlength=self.classes)


def joined(parts: Sequence[Tensor]) -> Tensor:
    """int64 [N] from int64 parts, of which there may be none."""
    return torch.cat([torch.zeros(0, dtype=torch.long), *parts])
