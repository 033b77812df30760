"""MTCNN by its settings or by its name, or a detector of somebody's own."""

from __future__ import annotations

import pytest
from stand_ins import MiddleFaces

from fairlit.errors import Problems
from fairlit.faces.detection import FaceDetection
from fairlit.faces.detector import FaceDetector
from fairlit.faces.detector_files import DETECTOR, check_detection, load_detector

MINE = FaceDetection(min_size=35)


@pytest.mark.parametrize("name", [None, DETECTOR, {"class_path": DETECTOR}])
def test_mtcnn_heeds_its_settings_whether_it_is_named_or_not(name: str | dict[str, str] | None) -> None:
    problems = Problems("audit")
    check_detection(name, MINE, FaceDetection(), problems)
    assert problems.messages == []
    detector = load_detector(name, MINE)
    assert isinstance(detector, FaceDetector)
    assert detector.settings.min_size == 35


def test_settings_of_mtcnn_beside_another_detector_are_refused() -> None:
    problems = Problems("audit")
    check_detection("stand_ins.MiddleFaces", FaceDetection(), FaceDetection(), problems)
    assert problems.messages == []
    check_detection("stand_ins.MiddleFaces", MINE, FaceDetection(), problems)
    assert problems.messages == ["detection: got settings of MTCNN, which --detector replaces; leave one of them out"]
    assert isinstance(load_detector("stand_ins.MiddleFaces"), MiddleFaces)
