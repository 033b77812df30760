"""Detector and classifier of a method that looks at the images which it changes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fairlit.errors import CheckpointError, Problems
from fairlit.faces import FaceClassifier, FaceDetector, load_classifier
from fairlit.faces.classifier_files import check_classifier_files, read_classes
from fairlit.faces.detector import check_detection
from fairlit.faces.observation import People
from fairlit.functional.alignment.target_distribution import TargetDistribution


@dataclass(frozen=True)
class FaceJudge:
    """Which classifier a method is led by, and how faces are found for it.

    Classifiers err, and a method that is led by one may learn its errors: let another one audit.

    Attributes:
        classifier: folder or YAML file, see `faces.load_classifier`.
        min_face_size: smallest face side looked for, in pixels of the enlarged image.
        enlarge: factor by which images are enlarged before detection.
        batch_size: images that go through the detector together.
        min_score: least score of a face that counts.
    """

    classifier: str
    min_face_size: float = 20.0
    enlarge: float = 1.0
    batch_size: int = 32
    min_score: float = 0.0

    def check_settings(self, problems: Problems) -> None:
        """Notes settings out of range."""
        check_detection(self.min_face_size, self.enlarge, self.min_score, self.batch_size, problems)

    def check(self, target: TargetDistribution, problems: Problems) -> None:
        """Notes a classifier that is missing, or that does not know the classes of the target."""
        try:
            with problems.collecting():
                target.reorder(read_classes(self.classifier))
        except CheckpointError as error:
            problems.add(f"classifier: {error}")
        check_classifier_files(self.classifier, "classifier", problems)

    def load(self, device: torch.device) -> tuple[FaceDetector, FaceClassifier]:
        """Opens both on `device`."""
        return self.detector().to(device), load_classifier(self.classifier).to(device)

    def detector(self, people: People = "largest") -> FaceDetector:
        """The detector by these settings, which finds the largest face of an image or all."""
        return FaceDetector(
            self.min_face_size,
            self.enlarge,
            selection=people,
            min_score=self.min_score,
            batch_size=self.batch_size,
        )
