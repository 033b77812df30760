from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from fairlit.errors import CheckpointError
from fairlit.faces.classifier_files import classifier_digest
from fairlit.faces.detector_files import detector_digest


def test_the_digest_of_a_folder_is_that_of_its_answers(tiny_models: dict[str, str], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_models["classifier"], tmp_path / "copy"))
    before = classifier_digest(folder)
    assert before == classifier_digest(tiny_models["classifier"]) != classifier_digest(tiny_models["audit_classifier"])
    config = json.loads((folder / "config.json").read_text())
    validation = {"gender": {"confusion": [[1, 0], [0, 1]], "ece_before": 0.1, "ece_after": 0.1}}
    (folder / "config.json").write_text(json.dumps(config | {"validation": validation}))
    assert classifier_digest(folder) == before  # which decides no answer
    (folder / "config.json").write_text(json.dumps(config | {"temperature": {"gender": 2.0}}))
    assert classifier_digest(folder) != before
    with pytest.raises(CheckpointError, match="no config"):
        classifier_digest(tmp_path)


def test_the_digest_of_words_is_that_of_words_and_model(clip_folder: Path, tmp_path: Path) -> None:
    clip = Path(shutil.copytree(clip_folder, tmp_path / "clip"))
    words = {"clip": str(clip), "classes": {"tint": {"red": ["red"], "blue": ["blue"]}}}
    (tmp_path / "words.yaml").write_text(yaml.safe_dump(words))
    before = classifier_digest(tmp_path / "words.yaml")
    with (clip / "model.safetensors").open("ab") as stream:
        stream.write(b"more")
    trained = classifier_digest(tmp_path / "words.yaml")
    (tmp_path / "words.yaml").write_text(yaml.safe_dump(words | {"templates": ["the {word} face"]}))
    assert len({before, trained, classifier_digest(tmp_path / "words.yaml")}) == 3


def test_the_digest_of_a_class_is_that_of_weights_and_arguments(tmp_path: Path) -> None:
    assert detector_digest(None) is None
    assert detector_digest("fairlit.faces.FaceDetector") is None
    digests = set()
    for scale in (1.0, 2.0):
        spec = {"class_path": "stand_ins.MiddleFaces", "init_args": {"scale": scale}}
        (tmp_path / "detector.yaml").write_text(yaml.safe_dump(spec))
        assert detector_digest(str(tmp_path / "detector.yaml")) == detector_digest(spec)
        digests |= {detector_digest(spec), classifier_digest("stand_ins.Unlearnt")}
    assert len(digests) == 3
