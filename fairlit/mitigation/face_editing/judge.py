"""Detector and classifier of a method that looks at the images which it changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fairlit.errors import CheckpointError, Problems
from fairlit.faces.classifier_files import (
    check_classifier_files,
    classifier_digest,
    load_classifier,
    read_classes,
    read_reliability,
)
from fairlit.faces.detection import FaceDetection
from fairlit.faces.detector_files import check_detector, detector_digest, load_detector
from fairlit.faces.reliability import note_unlearnt, warn_of_errors
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

    def check(self, target: TargetDistribution, problems: Problems, *, kept: Sequence[str] = ()) -> None:
        """Note a missing classifier or detector, and classes or attributes that the classifier does not know.

        Args:
            target: distribution to which the classifier leads.
            problems: collector of the messages.
            kept: further attributes that the classifier is asked about.
        """
        try:
            with problems.collecting():
                target.reorder(read_classes(self.classifier))
                asked = (*target.attributes, *kept)
                note_unlearnt(read_reliability(self.classifier), asked, "classifier", problems)
        except CheckpointError as error:
            problems.add(f"classifier: {error}")
        check_classifier_files(self.classifier, "classifier", problems)
        check_detector(self.detector, problems)

    def digests(self) -> dict[str, str]:
        """Return digests of the classifier and of a detector of somebody's own.

        Raises:
            CheckpointError: the classifier is missing or damaged.
            ConfigurationError: a config does not do, or a class cannot be imported or built.
        """
        detector = detector_digest(self.detector)
        return {"classifier": classifier_digest(self.classifier)} | ({} if detector is None else {"detector": detector})

    def load(self, device: torch.device, target: TargetDistribution) -> tuple[FaceDetectorBase, FaceClassifier]:
        """Open both on a device; warn of a classifier that is often wrong. The detector finds all faces.

        Args:
            device: where they work.
            target: distribution to which the classifier leads.
        """
        detector, classifier = load_detector(self.detector, self.detection), load_classifier(self.classifier)
        warn_of_errors(classifier.reliability, target.attributes, "classifier")
        return detector.to(device), classifier.to(device)
