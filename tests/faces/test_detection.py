"""Settings of detection: checked, merged with old names, and one class for all detectors."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from fairlit.errors import ConfigurationError, Problems
from fairlit.faces import FaceDetection, FaceDetector, load_classifier, load_detector
from fairlit.faces.classifier_files import read_classes, same_classifier
from fairlit.faces.detection import with_renamed_settings
from fairlit.faces.detector_files import check_detector

OWN = """
import torch
from fairlit.faces import FaceClassifier, FaceDetectorBase, Faces


class EveryImage(FaceDetectorBase):
    def __init__(self, score: float = 1.0) -> None:
        super().__init__()
        self.score = score

    def forward(self, images):
        count, _, height, width = images.shape
        box = torch.tensor([0.0, 0.0, width, height]).expand(count, 4)
        scores = torch.full((count,), self.score)
        return Faces(torch.arange(count), box, scores, torch.zeros(count, 5, 2), count)


class Brightness(FaceClassifier):
    classes = {"tone": ("dark", "bright")}
    temperature = {"tone": 1.0}
    size = 8

    def forward(self, faces):
        level = faces.mean(dim=(1, 2, 3))
        return {"tone": torch.stack([0.5 - level, level - 0.5], dim=1)}

    def classify(self, images, faces):
        return self(images[faces.image_index])
"""


def test_numbers_out_of_range_come_together() -> None:
    with pytest.raises(ConfigurationError, match="4 problems") as caught:
        FaceDetection(min_size=11, scale=0, min_score=1.5, batch_size=0)
    for words in ("min_size: got 11; expected 12 or more", "scale: got 0", "min_score: got 1.5", "batch_size: got 0"):
        assert words in str(caught.value)
    FaceDetection(min_size=12, scale=0.1, min_score=1.0, batch_size=1)


def test_old_names_change_what_they_name_alone() -> None:
    start = FaceDetection(min_score=0.9)
    with pytest.warns(FutureWarning, match=r"enlarge: got 2.0; it is called detection.scale now"):
        assert with_renamed_settings(start, enlarge=2.0) == FaceDetection(scale=2.0, min_score=0.9)
    assert with_renamed_settings(start) == start


def test_old_arguments_of_the_detector() -> None:
    with pytest.warns(FutureWarning) as told:
        detector = FaceDetector(min_face_size=24, enlarge=2.0, selection="all")
    assert {str(one.message).split(":")[0] for one in told} == {"min_face_size", "enlarge", "selection"}
    assert (detector.settings, detector.faces) == (FaceDetection(min_size=24, scale=2.0), "all")


def test_detector_and_classifier_of_somebody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "looks_of_somebody.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    detector = load_detector({"class_path": "looks_of_somebody.EveryImage", "init_args": {"score": 0.5}})
    (tmp_path / "classifier.yaml").write_text("class_path: looks_of_somebody.Brightness\n")
    classifier = load_classifier("classifier.yaml")
    images = torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)])
    faces = detector(images)
    assert faces.scores.tolist() == [0.5, 0.5]
    assert classifier.classify(images, faces)["tone"].argmax(dim=1).tolist() == [0, 1]
    assert (classifier.frozen, classifier.device) == (True, torch.device("cpu"))
    assert read_classes("looks_of_somebody.Brightness") == {"tone": ("dark", "bright")}
    assert same_classifier("looks_of_somebody.Brightness", "looks_of_somebody.Brightness")
    assert not same_classifier("looks_of_somebody.Brightness", "classifier.yaml")
    with Problems("audit") as problems:
        check_detector("looks_of_somebody.EveryImage", problems)
    with pytest.raises(ConfigurationError, match=r"expected a subclass of fairlit\.faces"):
        load_detector("looks_of_somebody.Brightness")
