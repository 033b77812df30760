"""Measuring a classifier on labelled faces and fitting its temperatures: an imported one, or one from words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fairlit.data.faces.celeba import CelebA
from fairlit.data.faces.datamodule import FaceDataModule, to_floats
from fairlit.data.faces.fairface import FairFace
from fairlit.data.faces.labelled_folders import LabelledFaces
from fairlit.errors import CheckpointError, ConfigurationError, Problems
from fairlit.faces.calibration import calibrate, measure
from fairlit.faces.class_merging import Classes, read_merges
from fairlit.faces.classifier import AttributeClassifier
from fairlit.faces.classifier_config import ClassifierConfig
from fairlit.faces.classifier_files import load_classifier
from fairlit.faces.face_classifier import FaceClassifier
from fairlit.faces.validation import AttributeValidation
from fairlit.io.class_paths import ClassSpec, is_class_spec
from fairlit.io.devices import choose_device
from fairlit.io.wording import counted
from fairlit.training.classifiers.calibration_config import CalibrationConfig

_DATA: Mapping[str, Callable[..., FaceDataModule]] = {"labelled": LabelledFaces, "fairface": FairFace, "celeba": CelebA}


@dataclass(frozen=True, kw_only=True)
class CalibrationResults:
    """What measuring a classifier has led to.

    Attributes:
        temperature: temperature of each attribute that was labelled.
        validation: errors on the validation faces, by attribute.
        saved: whether the classifier's folder has both now; a file of words is left to its owner.
    """

    temperature: Mapping[str, float]
    validation: Mapping[str, AttributeValidation]
    saved: bool


def calibrate_classifier(config: CalibrationConfig) -> CalibrationResults:
    """Measure a classifier on labelled faces and fit its temperatures.

    The faces must be cropped as the classifier crops them (whole pictures, for words that look at images).

    Args:
        config: settings. Everything in it is checked before faces are looked at.

    Raises:
        ConfigurationError: the settings are wrong; lists everything that is.
        CheckpointError: the classifier is damaged.
    """
    with Problems("classifier calibrate") as problems:
        for name, what in (("classifier", "a folder, or a file of words"), ("folder", "--folder, where the faces are")):
            if getattr(config, name) is None:
                problems.add(f"{name}: got nothing; give {what}")
        problems.at_least("batch_size", config.batch_size, 1)
        problems.at_least("num_workers", config.num_workers, 0)
        device = choose_device(config.device, problems)
        if config.classifier is not None and not config.overwrite:
            _check_not_measured(config.classifier, problems)
    assert config.classifier is not None
    classifier = load_classifier(config.classifier)
    data = _open_data(config, classifier)
    classifier.to(device)
    batches, attributes = map(to_floats, data.val_dataloader()), list(data.class_names)
    if not isinstance(classifier, AttributeClassifier):
        temperature, validation = measure(classifier, batches, attributes)
        return CalibrationResults(temperature=temperature, validation=validation, saved=False)
    calibrate(classifier, batches, attributes)
    classifier.save(str(config.classifier))
    kept = classifier.config
    return CalibrationResults(temperature=kept.temperature, validation=kept.validation, saved=True)


def _check_not_measured(classifier: ClassSpec, problems: Problems) -> None:
    """Note what is known of a classifier's errors already, and would be lost."""
    if is_class_spec(classifier) or not Path(str(classifier)).is_dir():
        return
    with suppress(CheckpointError, ConfigurationError):  # what is wrong with it, `load_classifier` says
        measured = ClassifierConfig.read(str(classifier)).validation
        if measured:
            listed = ", ".join(f"{name} on {counted(entry.samples, 'face')}" for name, entry in measured.items())
            problems.add(
                f"classifier: got {classifier}, which has been measured before ({listed}); expected one that has not; "
                "give --overwrite to replace its temperatures and confusion matrices, or calibrate a copy"
            )


def _open_data(config: CalibrationConfig, classifier: FaceClassifier) -> FaceDataModule:
    """Return the labelled faces; refuses those whose classes are not the classifier's."""
    same: Classes = {attribute: list(names) for attribute, names in classifier.classes.items()}
    classes = read_merges(Path(config.classes)) if config.classes is not None else same
    data = _DATA[config.data](
        folder=str(config.folder),
        classes=classes,
        image_size=classifier.size,
        batch_size=config.batch_size,
        num_workers=config.num_workers,
    )
    with Problems("classes") as problems:
        for attribute, names in data.class_names.items():
            if names != (known := classifier.classes.get(attribute)):
                problems.add(f"{attribute}: got {names}, the classifier has {known}; give the same, in the same order")
    data.setup("validate")
    return data
