"""Settings of face detection, the same in every config, and which of the faces found count."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Literal, TypeAlias, get_args

from fairlit.errors import Problems

FaceSelection: TypeAlias = Literal["largest", "all"]
"""Faces of an image that count: its largest one, as Shen et al. (ICLR 2024) count, or every face that is found."""

SMALLEST_FACE = 12
"""Smallest face side in pixels that MTCNN's proposal network can look for: its receptive field."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FaceDetection:
    """Settings with which faces are looked for.

    Attributes:
        min_size: smallest face side in pixels of the scaled image.
        scale: factor by which images are resized before detection; small faces are found better enlarged.
        min_score: lowest detection score of a face that counts.
        batch_size: number of images that go through the detector together.

    Raises:
        ConfigurationError: A setting is out of range.
    """

    min_size: float = 20.0
    scale: float = 1.0
    min_score: float = 0.0
    batch_size: int = 32

    def __post_init__(self) -> None:
        with Problems("detection") as problems:
            if not self.min_size >= SMALLEST_FACE:
                problems.add(
                    f"min_size: got {self.min_size}; expected {SMALLEST_FACE} or more; raise scale for smaller faces"
                )
            if not self.scale > 0:
                problems.add(f"scale: got {self.scale}; expected more than 0; give 1 to leave images as they are")
            if not 0 <= self.min_score <= 1:
                problems.add(
                    f"min_score: got {self.min_score}; expected a number from 0 to 1; give 0 to keep all faces"
                )
            problems.at_least("batch_size", self.batch_size, 1)


def check_face_selection(faces: str, problems: Problems, name: str = "faces") -> None:
    """Note a selection of faces that does not exist.

    Args:
        faces: value that was given.
        problems: collector of the message.
        name: name of the parameter, which begins the message.
    """
    if faces not in get_args(FaceSelection):
        choices = " or ".join(get_args(FaceSelection))
        problems.add(f"{name}: got {faces!r}; expected {choices}; give one of them")


def with_renamed_settings(
    detection: FaceDetection,
    *,
    min_face_size: float | None = None,
    enlarge: float | None = None,
    min_score: float | None = None,
) -> FaceDetection:
    """Return detection settings changed by arguments of fairlit 0.1.0, with a warning for each that is given.

    Args:
        detection: settings to start from.
        min_face_size: former name of `FaceDetection.min_size`.
        enlarge: former name of `FaceDetection.scale`.
        min_score: score that used to stand beside the other settings.
    """
    former = (("min_face_size", "min_size", min_face_size), ("enlarge", "scale", enlarge))
    for old, new, value in (*former, ("min_score", "min_score", min_score)):
        if value is not None:
            warn_renamed(old, f"detection.{new}", value)
    return dataclasses.replace(
        detection,
        min_size=detection.min_size if min_face_size is None else min_face_size,
        scale=detection.scale if enlarge is None else enlarge,
        min_score=detection.min_score if min_score is None else min_score,
    )


def warn_renamed(old: str, new: str, value: object) -> None:
    """Warn that an argument has another name now; the old one works for one version more."""
    warnings.warn(f"{old}: got {value!r}; it is called {new} now; rename it", FutureWarning, stacklevel=4)
