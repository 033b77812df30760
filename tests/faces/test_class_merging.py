from __future__ import annotations

from fairlit.faces.class_merging import class_names, class_of_label, merge_problems, uncovered_problems

CLASSES = {"gender": ["Female", "Male"], "age": {"young": ["0-2", "3-9"], "old": ["70+"]}}


def test_lists_and_merges_mean_the_same_kind_of_thing() -> None:
    assert class_names(CLASSES) == {"gender": ("Female", "Male"), "age": ("young", "old")}
    assert class_of_label(CLASSES["gender"]) == {"Female": 0, "Male": 1}
    assert class_of_label(CLASSES["age"]) == {"0-2": 0, "3-9": 0, "70+": 1}
    assert merge_problems(CLASSES) == []
    assert uncovered_problems(CLASSES, {"age": ["70+", "0-2", "3-9"]}) == []


def test_a_label_in_two_classes_and_a_class_without_labels() -> None:
    twice, empty = merge_problems({"age": {"young": ["0-2", "3-9"], "old": ["3-9"], "ageless": []}})
    assert "'3-9' in 'young' and in 'old'" in twice
    assert "classes.age.ageless is []" in empty


def test_labels_left_out_and_labels_that_do_not_exist() -> None:
    missing, unknown = uncovered_problems(CLASSES, {"age": ["0-2", "10-19", "70+"], "height": ["tall"]})
    assert "classes.age leaves out '10-19'" in missing
    assert "classes.age names '3-9'" in unknown
