"""The face detector that settings stand for: MTCNN, or one of somebody's own, given as a class path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairlit.faces.detection import FaceDetection
from fairlit.io.class_paths import ClassSpec, find_class, instantiate

if TYPE_CHECKING:
    from fairlit.errors import Problems
    from fairlit.faces.detector import FaceDetectorBase


def load_detector(
    own: ClassSpec | None = None, detection: FaceDetection = FaceDetection(), subject: str = "detector"
) -> FaceDetectorBase:
    """Build a face detector.

    Args:
        own: class of a detector of somebody's own, see `fairlit.io.class_paths`; None: MTCNN.
        detection: settings of MTCNN; a detector of somebody's own has settings of its own.
        subject: name of the setting, which begins every message.

    Raises:
        ConfigurationError: the class cannot be imported or built, or is not a `FaceDetectorBase`.
    """
    from fairlit.faces.detector import FaceDetector, FaceDetectorBase

    if own is None:
        return FaceDetector.from_settings(detection)
    return instantiate(own, FaceDetectorBase, subject)


def check_detector(own: ClassSpec | None, problems: Problems, subject: str = "detector") -> None:
    """Note a detector of somebody's own that cannot be imported, without building it.

    Args:
        own: class of the detector; None: MTCNN.
        problems: collector of the messages.
        subject: name of the setting, which begins every message.
    """
    if own is not None:
        from fairlit.faces.detector import FaceDetectorBase

        with problems.collecting():
            find_class(own, FaceDetectorBase, subject)
