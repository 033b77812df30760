"""Settings as plain data, names, and old arguments of methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fairlit.faces import FaceDetection
from fairlit.mitigation import LatentGuidance, NoMitigation, OutputEditing, UnifiedConceptEditing
from fairlit.mitigation.method import as_plain


def test_plain_data_of_dataclasses_paths_and_mappings() -> None:
    found = as_plain({2: (FaceDetection(scale=2.0), Path("a/b"), None, True)})
    detection = {"min_size": 20.0, "scale": 2.0, "min_score": 0.0, "batch_size": 32}
    assert found == {"2": [detection, "a/b", None, True]}
    with pytest.raises(TypeError, match="a set"):
        as_plain([{1}])


def test_the_unchanged_model_has_a_name_for_readers() -> None:
    method = NoMitigation()
    assert (method.name, method.display_name) == ("none", "unchanged model")
    assert (method.is_unchanged_model, method.needs_target, method.settings()) == (True, False, {})
    assert LatentGuidance("c").display_name == LatentGuidance.name


@pytest.mark.parametrize("kind", [LatentGuidance, OutputEditing, UnifiedConceptEditing])
def test_old_arguments_of_detection(kind: Any) -> None:
    concepts = {"concepts": ["doctor"]} if kind is UnifiedConceptEditing else {}
    with pytest.warns(FutureWarning, match=r"enlarge: got 2.0; it is called detection.scale now"):
        old = kind("c", enlarge=2.0, min_face_size=24.0, **concepts)
    score = 0.9 if kind is OutputEditing else 0.0
    new = kind("c", detection=FaceDetection(scale=2.0, min_size=24.0, min_score=score), **concepts)
    assert old.settings() == new.settings()
    assert not {"enlarge", "min_face_size"} & set(old.settings())


def test_old_arguments_of_output_editing() -> None:
    with pytest.warns(FutureWarning) as told:
        old = OutputEditing("c", people="largest", min_score=0.5)
    assert {str(one.message).split(":")[0] for one in told} == {"people", "min_score"}
    assert old.settings() == OutputEditing("c", faces="largest", detection=FaceDetection(min_score=0.5)).settings()
