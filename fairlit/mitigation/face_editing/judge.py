"""Detector and classifier of a method that looks at the images which it changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fairlit.errors import CheckpointError, Problems
from fairlit.faces.classifier_files import check_classifier_files, load_classifier, read_classes
from fairlit.faces.detection import FaceDetection
from fairlit.faces.detector_files import check_detector, load_detector
from fairlit.io.class_paths import ClassSpec

if TYPE_CHECKING:
    import torch

    from fairlit.faces import FaceClassifier, FaceDetectorBase
    from fairlit.functional.alignment.target_distribution import TargetDistribution


@dataclass(frozen=True, kw_only=True)
class FaceJudge:
    """Which classifier a method is led by, and how faces are found for it.

    Classifiers err, and a method that is led by one may learn its errors: let another one audit.

    Attributes:
        classifier: folder, YAML file of words or class, see `faces.load_classifier`.
        detection: settings of face detection.
        detector: class of a detector of somebody's own; None: MTCNN.
    """

    classifier: ClassSpec
    detection: FaceDetection = FaceDetection()
    detector: ClassSpec | None = None

    def check(self, target: TargetDistribution, problems: Problems) -> None:
        """Note a classifier or detector that is missing, or classes of the target that the classifier does not know."""
        try:
            with problems.collecting():
                target.reorder(read_classes(self.classifier))
        except CheckpointError as error:
            problems.add(f"classifier: {error}")
        check_classifier_files(self.classifier, "classifier", problems)
        check_detector(self.detector, problems)

    def load(self, device: torch.device) -> tuple[FaceDetectorBase, FaceClassifier]:
        """Open both on `device`; the detector finds all faces."""
        detector = load_detector(self.detector, self.detection)
        return detector.to(device), load_classifier(self.classifier).to(device)
