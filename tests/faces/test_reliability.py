from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from fairlit.errors import Problems
from fairlit.faces import AttributeClassifier, ClassifierConfig
from fairlit.faces.classifier_files import read_reliability
from fairlit.faces.reliability import Reliability, note_unlearnt, reliability, warn_of_errors
from fairlit.faces.validation import AttributeValidation

TINY = {"stages_repeats": [1, 1, 1], "stages_out_channels": [8, 16, 16, 32, 32]}
CLASSES = {"gender": ("female", "male"), "tone": ("light", "tan", "dark")}


def of(rows: list[list[int]]) -> Reliability:
    return reliability({"gender": rows}, CLASSES)["gender"]


def test_balanced_accuracy_is_the_mean_of_the_classes_recalls() -> None:
    uneven = of([[90, 10], [6, 4]])  # 94 % right, but mostly for one class
    assert uneven.balanced_accuracy == pytest.approx((0.9 + 0.4) / 2)
    assert (uneven.chance, uneven.faces, uneven.only_answer) == (0.5, 110, None)
    assert uneven.has_learnt
    assert not uneven.is_reliable
    assert of([[8, 2], [2, 8]]).is_reliable  # 0.8 itself


@pytest.mark.parametrize("rows", [[[29, 0], [43, 0]], [[11, 9], [9, 11]], [[10, 0], [0, 0]], [[1, 9], [9, 1]]])
def test_what_is_no_better_than_chance_has_learnt_nothing(rows: list[list[int]]) -> None:
    found = reliability({"gender": rows}, CLASSES)
    if rows[1] == [0, 0]:  # faces of one class alone tell nothing
        assert found == {}
    else:
        assert not found["gender"].has_learnt  # balanced accuracies 0.5, 0.55 and 0.1, where chance is 0.5


def test_classes_without_faces_do_not_count() -> None:
    found = reliability({"tone": [[9, 1, 0], [0, 0, 0], [2, 0, 8]]}, CLASSES)["tone"]
    assert (found.balanced_accuracy, found.chance) == (pytest.approx((0.9 + 0.8) / 2), 0.5)


def test_only_attributes_that_are_asked_about_are_noted_and_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    found = reliability({"gender": [[29, 0], [43, 0]], "tone": [[7, 3, 0], [2, 7, 1], [1, 2, 7]]}, CLASSES)
    problems = Problems("test")
    with caplog.at_level(logging.WARNING, "fairlit"):
        note_unlearnt(found, ["tone", "hat"], "models.classifier", problems)
        warn_of_errors(found, ["tone", "hat"], "models.classifier")
    assert problems.messages == []
    assert [record.getMessage() for record in caplog.records] == [
        "models.classifier: often wrong about 'tone': balanced accuracy 0.70 on its 30 validation faces, where chance "
        "is 0.33"
    ]
    note_unlearnt(found, ["gender"], "models.classifier", problems)
    assert problems.messages == [
        "models.classifier: got a classifier that has learnt nothing about 'gender': balanced accuracy 0.50 on its 72 "
        "validation faces, where chance is 0.50 (every face was taken for 'female'); expected more than 0.55; train "
        "it again, or choose another classifier"
    ]


def test_a_folder_tells_its_reliability_without_its_weights(tmp_path: Path) -> None:
    validation = {"gender": AttributeValidation(((29, 0), (43, 0)), 0.1, 0.1)}
    classifier = AttributeClassifier(ClassifierConfig(CLASSES, "shufflenet_v2", TINY, 32, validation=validation))
    classifier.save(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    assert read_reliability(tmp_path) == classifier.reliability == {"gender": of([[29, 0], [43, 0]])}
    content = json.loads((tmp_path / "config.json").read_text())
    del content["validation"]
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert read_reliability(tmp_path) == {}


def test_a_class_of_ones_own_is_asked_where_it_tells_its_errors() -> None:
    assert read_reliability("stand_ins.Unlearnt")["gender"].only_answer == "female"
    assert read_reliability("stand_ins.Untested") == {}  # which cannot be built
