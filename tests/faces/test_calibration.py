from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_faces import AGES, write_fairface
from torch import Tensor

from fairlit.cli import main
from fairlit.errors import ConfigurationError, NotFiniteError
from fairlit.faces import AttributeClassifier, ClassifierConfig
from fairlit.faces.calibration import calibrate, calibration_error, describe_validation
from fairlit.faces.validation import AttributeValidation
from fairlit.functional.statistics.calibration import fit_temperature

CLASSES = {"hat": ("none", "cap", "crown"), "mood": ("calm", "cross"), "gaze": ("left", "right")}
TINY = {"stages_repeats": [1, 1, 1], "stages_out_channels": [8, 16, 16, 32, 32]}


@pytest.fixture
def classifier() -> AttributeClassifier:
    torch.manual_seed(0)
    made = AttributeClassifier(ClassifierConfig(CLASSES, "shufflenet_v2", TINY, 32, temperature={"gaze": 3.0}))
    with torch.no_grad():
        made.head.weight *= 50
    return made


@pytest.fixture
def batches() -> list[tuple[Tensor, Tensor]]:
    """60 faces; every third has no mood, and nobody has a gaze."""
    torch.manual_seed(1)
    faces = torch.rand(60, 3, 32, 32) * torch.rand(60, 3, 1, 1)
    labels = torch.stack([torch.randint(3, (60,)), torch.randint(2, (60,)), torch.full((60,), -100)], dim=1)
    labels[::3, 1] = -100
    return list(zip(faces.split(25), labels.split(25), strict=True))


def test_temperature_confusion_and_errors_are_those_of_the_labelled_faces(
    classifier: AttributeClassifier, batches: list[tuple[Tensor, Tensor]], tmp_path: Path
) -> None:
    classifier.train()
    calibrate(classifier, batches)
    assert classifier.training
    classifier.save(tmp_path)
    loaded = AttributeClassifier.load(tmp_path)
    faces, labels = (torch.cat(part) for part in zip(*batches, strict=True))
    raw = loaded.head(loaded.features(faces))[:, 3:5]
    known = labels[:, 1] >= 0
    expected = np.zeros((2, 2), dtype=int)
    for label, answer in zip(labels[known, 1].tolist(), raw[known].argmax(dim=1).tolist(), strict=True):
        expected[label, answer] += 1
    assert loaded.confusion["mood"].tolist() == expected.tolist()
    entry = loaded.config.validation["mood"]
    assert entry.samples == 40
    assert entry.accuracy == pytest.approx(np.trace(expected) / 40)
    temperature = loaded.config.temperature["mood"]
    assert temperature == pytest.approx(fit_temperature(raw[known], labels[known, 1]))
    torch.testing.assert_close(loaded(faces)["mood"], raw / temperature)
    assert entry.ece_before == pytest.approx(calibration_error(raw[known], labels[known, 1]))
    assert entry.ece_after == pytest.approx(calibration_error(raw[known] / temperature, labels[known, 1]))
    assert entry.ece_after < entry.ece_before  # far too sure before, by construction
    assert "gaze" not in loaded.confusion
    assert loaded.config.temperature["gaze"] == 3.0


def test_calibrating_again_changes_nothing(
    classifier: AttributeClassifier, batches: list[tuple[Tensor, Tensor]]
) -> None:
    calibrate(classifier, batches)
    once = classifier.config
    calibrate(classifier, batches)
    assert classifier.config.temperature == pytest.approx(once.temperature, rel=1e-5)
    assert {name: entry.confusion for name, entry in classifier.config.validation.items()} == {
        name: entry.confusion for name, entry in once.validation.items()
    }


def test_calibration_error_by_hand() -> None:
    """Two bins of confidence: 0.62 right once in two, 0.9 right twice in two."""
    probabilities = torch.tensor([[0.62, 0.38], [0.38, 0.62], [0.9, 0.1], [0.9, 0.1]])
    labels = torch.tensor([0, 0, 0, 0])
    assert calibration_error(probabilities.log(), labels) == pytest.approx((0.12 + 0.1) / 2, abs=1e-5)


def test_folders_from_before_calibration_open(classifier: AttributeClassifier, tmp_path: Path) -> None:
    classifier.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert "validation" not in config
    assert "columns" not in config
    del config["temperature"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = AttributeClassifier.load(tmp_path)
    assert loaded.confusion == {}
    assert loaded.config.temperature == dict.fromkeys(CLASSES, 1.0)


def test_a_classifier_that_knows_nothing_is_said_to() -> None:
    logits, labels = torch.tensor([[3.0, 0.0], [0.0, 3.0]] * 20), torch.tensor([0, 0, 1, 1] * 10)
    temperature = {"coin": fit_temperature(logits, labels), "fine": 1.0, "same": 1.0}
    half = AttributeValidation(((10, 10), (10, 10)), 0.45, 0.0)
    good = AttributeValidation(((19, 1), (2, 18)), 0.1, 0.1)
    same = AttributeValidation(((29, 0), (43, 0)), 0.1, 0.1)
    coin, fine, one = describe_validation(temperature, {"coin": half, "fine": good, "same": same})
    assert coin.endswith("no better than chance")
    assert coin.startswith("coin  accuracy 0.500 (balanced 0.500), ECE 0.450 -> 0.000")
    assert fine.endswith("as they were labelled")
    assert one.endswith("no better than chance")


def test_damaged_validations_are_named() -> None:
    with pytest.raises(ConfigurationError, match="square table"):
        AttributeValidation(((1, 2), (3,)), 0.1, 0.1)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError) as caught:
        ClassifierConfig(
            CLASSES,
            validation={
                "hat": AttributeValidation(((1, 0), (0, 1)), 0.0, 0.0),  # of two classes, not three
                "mood": {"confusion": [[1, -1], [0, 0]], "ece_before": 0.0, "ece_after": 0.0},  # type: ignore[dict-item]
            },
        )
    for part in ("'hat' does not fit", "'mood' cannot be read"):
        assert part in str(caught.value)


def test_the_command_calibrates_what_was_trained_elsewhere(
    classifier: AttributeClassifier, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Labels have other names than classes, and one attribute is not labelled at all."""
    write_fairface(tmp_path / "faces", 2, 12)
    config = ClassifierConfig({"age": ("young", "old"), "mood": ("calm", "cross")}, "shufflenet_v2", TINY, 32)
    AttributeClassifier(config).save(tmp_path / "classifier")
    merge = {"age": {name: list(labels) for name, labels in AGES.items()}}
    (tmp_path / "merge.yaml").write_text(json.dumps(merge))
    where = ["--data", "fairface", "--folder", str(tmp_path / "faces"), "--device", "cpu"]
    arguments = ["classifier", "calibrate", str(tmp_path / "classifier"), *where]
    arguments += ["--classes", str(tmp_path / "merge.yaml")]
    main(arguments)
    loaded = AttributeClassifier.load(tmp_path / "classifier")
    assert loaded.confusion["age"].sum() == 12
    assert loaded.config.temperature["age"] != 1.0
    assert loaded.config.temperature["mood"] == 1.0
    assert "age  accuracy" in capsys.readouterr().out
    before = (tmp_path / "classifier" / "config.json").read_bytes()
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "which has been measured before (age on 12 faces); expected" in capsys.readouterr().err
    assert (tmp_path / "classifier" / "config.json").read_bytes() == before
    arguments.append("--overwrite")
    main(arguments)
    (tmp_path / "merge.yaml").write_text(json.dumps({"age": {"old": AGES["old"], "young": AGES["young"]}}))
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "give the same, in the same order" in capsys.readouterr().err


def test_the_command_fits_temperatures_of_words(
    clip_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_fairface(tmp_path / "faces", 2, 12)
    words = {"clip": str(clip_folder), "classes": {"gender": {"Female": ["woman"], "Male": ["man"]}}}
    (tmp_path / "words.yaml").write_text(json.dumps(words))
    where = ["--data", "fairface", "--folder", str(tmp_path / "faces"), "--device", "cpu"]
    main(["classifier", "calibrate", str(tmp_path / "words.yaml"), *where])
    printed = capsys.readouterr().out.splitlines()[-1]
    assert printed.startswith(f"put into {tmp_path / 'words.yaml'}  temperature: {{gender: ")


def test_answers_that_are_not_finite_are_not_measured(classifier: AttributeClassifier) -> None:
    with torch.no_grad():
        classifier.head.bias[0] = torch.nan  # of the first attribute alone
    name = next(iter(CLASSES))
    batches = [(torch.rand(3, 3, 32, 32), torch.zeros(3, len(CLASSES), dtype=torch.long))]
    with pytest.raises(NotFiniteError, match=f"classifier: logits of '{name}': got NaN or infinity for 3 of 3"):
        calibrate(classifier, batches)


def test_weights_that_are_not_finite_are_not_saved(classifier: AttributeClassifier, tmp_path: Path) -> None:
    with torch.no_grad():
        classifier.head.bias[0] = torch.inf
    with pytest.raises(NotFiniteError, match=r"NaN or infinity in 'head\.bias'.*nothing is written"):
        classifier.save(tmp_path / "new")
    assert not (tmp_path / "new").exists()
