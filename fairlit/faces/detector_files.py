"""The face detector that settings stand for: MTCNN, or one of somebody's own, given as a class path."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fairlit.faces.detection import FaceDetection
from fairlit.io.class_paths import ClassSpec, find_class, instantiate, read_class_spec
from fairlit.io.digests import module_digest, text_digest

if TYPE_CHECKING:
    from fairlit.errors import Problems
    from fairlit.faces.detector import FaceDetectorBase

DETECTOR = "fairlit.faces.FaceDetector"
"""Class path of MTCNN, which fairlit 0.1.0 wanted to be named where it had settings."""


def replaces_detection(own: ClassSpec | None) -> bool:
    """Return whether a detector has settings of its own, so that those of MTCNN mean nothing.

    Args:
        own: class of the detector; None: MTCNN.
    """
    return own not in (None, DETECTOR, {"class_path": DETECTOR})


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

    if own is None or not replaces_detection(own):
        return FaceDetector.from_settings(detection)
    return instantiate(own, FaceDetectorBase, subject)


def detector_digest(own: ClassSpec | None) -> str | None:
    """Return a name for weights and arguments of a detector of somebody's own; None for MTCNN, which never changes.

    Args:
        own: class of the detector; None: MTCNN.

    Raises:
        ConfigurationError: the class cannot be imported or built.
    """
    if own is None or not replaces_detection(own):
        return None
    arguments = json.dumps(read_class_spec(own, "detector"), sort_keys=True, default=str)
    return text_digest(f"{module_digest(load_detector(own))} {arguments}")


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


def check_detection(
    own: ClassSpec | None, detection: FaceDetection, default: FaceDetection, problems: Problems
) -> None:
    """Note settings of MTCNN beside a detector that does not look at them.

    Args:
        own: class of the detector; None: MTCNN.
        detection: settings of MTCNN.
        default: what these are where nobody sets any.
        problems: collector of the messages.
    """
    if replaces_detection(own) and detection != default:
        problems.add("detection: got settings of MTCNN, which --detector replaces; leave one of them out")
