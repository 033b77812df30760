"""Crops of generated faces, labelled with the classes that were asked for, to measure a classifier on.

Some methods deal a class out to every image, and the manifest keeps it. A label is what was asked for, not what is
seen: where the model disobeys, a classifier that is right counts as wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from fairlit.data.faces.labels_table import LABELS_NAME, LabelsRow, write_labels
from fairlit.errors import ConfigurationError, Problems
from fairlit.faces.classifier_files import load_classifier, read_classes
from fairlit.faces.detection import FaceDetection
from fairlit.faces.detector import FaceDetectorBase
from fairlit.faces.detector_files import check_detection, check_detector, load_detector
from fairlit.faces.face_classifier import FaceClassifier
from fairlit.io.atomic import atomic_files, atomic_folder
from fairlit.io.devices import choose_device
from fairlit.io.digests import fairlit_version
from fairlit.io.output_places import check_writable
from fairlit.io.wording import counted
from fairlit.judging.config import check_classifier
from fairlit.judging.image_folders import find_images
from fairlit.judging.labelled_crops_config import LabelledCropsConfig
from fairlit.judging.observations import find_faces
from fairlit.pictures.batches import PictureBatch, read_batches
from fairlit.pictures.files import read_parameters, save_png
from fairlit.pictures.manifest import MANIFEST
from fairlit.results.judging import NotCounted
from fairlit.terminal import progress_bar

Labels = Mapping[str, Mapping[str, str]]
"""File -> attribute -> class."""

NOT_DEALT = "no class was dealt out to it"
_SOURCE = "picture"  # parameter of a crop: the picture that it is cut out of
_REMEDY = (
    "generate with --method attribute_words or --method fair_diffusion; in a folder that an earlier version has made, "
    "run the same command again, which writes the manifest anew and makes no image twice"
)


@dataclass(frozen=True, kw_only=True)
class LabelledCrops:
    """What has become of a folder of pictures.

    Attributes:
        pictures: number of pictures that were looked at.
        faces: number of crops, one for each picture with a face.
        classes: attribute -> class -> number of crops of which it was asked.
        without_face: pictures in which no face was found.
        with_several: pictures in which several were found; the largest was cropped.
        left_out: files that were not looked at, and why.
    """

    pictures: int
    faces: int
    classes: Mapping[str, Mapping[str, int]]
    without_face: Sequence[str]
    with_several: Sequence[str]
    left_out: Sequence[NotCounted]


@dataclass(frozen=True)
class _Cropped:
    """What has been done so far; a crop is listed with its labels."""

    labels: dict[str, Mapping[str, str]] = field(default_factory=dict)
    without_face: list[str] = field(default_factory=list)
    with_several: list[str] = field(default_factory=list)
    refused: list[NotCounted] = field(default_factory=list)


def crop_labelled_faces(config: LabelledCropsConfig) -> LabelledCrops:
    """Crop the largest face of each generated picture as a classifier crops it, labelled with the classes asked for.

    `labels.csv` has a column for every attribute of the classifier, empty where no class was dealt out, and all crops
    are in its validation split.

    Args:
        config: settings. Everything in it is checked before a model is loaded.

    Returns:
        What has been written, and what was left out.

    Raises:
        ConfigurationError: the settings are wrong, lists everything that is; or no face is found.
        CheckpointError: the classifier is damaged.
    """
    with Problems("classifier crop") as problems:
        device = _check_settings(config, problems)
        classes = _read_classes(config, problems)
        labels, left_out = _find_pictures(config, problems)
        _check_labels(labels, classes, problems)
    detector = load_detector(config.detector, config.detection).to(device)
    classifier = load_classifier(config.classifier or "").to(device)
    done = _write_crops(config, labels, detector, classifier=classifier)
    return LabelledCrops(
        pictures=len(labels) - len(done.refused),
        faces=len(done.labels),
        classes=_counts(done.labels, classes),
        without_face=done.without_face,
        with_several=done.with_several,
        left_out=[*left_out, *done.refused],
    )


def _write_crops(
    config: LabelledCropsConfig, labels: Labels, detector: FaceDetectorBase, *, classifier: FaceClassifier
) -> _Cropped:
    """Write the crops of all pictures and their table, all of them or none."""
    root, out, done = Path(str(config.folder)), Path(str(config.out)), _Cropped()
    names = dict.fromkeys([*_earlier_crops(out), *map(_crop_name, range(len(labels)))])
    with (
        progress_bar("pictures", len(labels)) as progress,
        atomic_files(out, [*names, LABELS_NAME]) if config.overwrite else atomic_folder(out) as place,
    ):
        for batch in read_batches(root, list(labels), batch_size=config.batch_size):
            _crop(batch, labels, detector, classifier=classifier, place=place, done=done)
            progress(len(batch.files) + len(batch.refused))
        if not done.labels:
            raise ConfigurationError(
                f"folder: got {root}, in whose {counted(len(labels), 'picture')} no face is found; expected some; give "
                "a larger --detection.scale, or other pictures"
            )
        write_labels(place, list(classifier.classes), (LabelsRow(*own) for own in done.labels.items()))
        (out / LABELS_NAME).unlink(missing_ok=True)  # a stop while files are moved leaves no table of other crops
    return done


@torch.no_grad()
def _crop(
    batch: PictureBatch,
    labels: Labels,
    detector: FaceDetectorBase,
    *,
    classifier: FaceClassifier,
    place: Path,
    done: _Cropped,
) -> None:
    """Write the crops of a batch of pictures and note what has become of each."""
    done.refused.extend(NotCounted(file, reason) for file, reason in batch.refused.items())
    if not batch.files:
        return
    pixels = torch.stack(batch.pictures).to(classifier.device).float().div_(255)
    found = find_faces(detector, pixels)
    largest = found.largest()
    for crop, index in zip(classifier.crop(pixels, largest), largest.image_index.tolist(), strict=True):
        source = batch.files[index]
        file = _crop_name(len(done.labels))
        asked = dict(labels[source])
        save_png(crop, place / file, {_SOURCE: source, "dealt_classes": asked, "version": fairlit_version()})
        done.labels[file] = asked
    for file, number in zip(batch.files, found.counts.tolist(), strict=True):
        if number != 1:
            (done.with_several if number else done.without_face).append(file)


def _crop_name(number: int) -> str:
    return f"{number:06d}.png"


def _earlier_crops(out: Path) -> list[str]:
    """Crops that this command has written into a folder before."""
    return [path.name for path in out.glob(f"{'[0-9]' * 6}.png") if _SOURCE in (read_parameters(path) or {})]


def _counts(labels: Labels, classes: Mapping[str, Sequence[str]]) -> dict[str, dict[str, int]]:
    """How many crops are labelled with each class, of the attributes of which any is."""
    counts = {
        attribute: {name: sum(own.get(attribute) == name for own in labels.values()) for name in names}
        for attribute, names in classes.items()
    }
    return {attribute: found for attribute, found in counts.items() if any(found.values())}


def _check_settings(config: LabelledCropsConfig, problems: Problems) -> str:
    """Return the device, and note settings that are missing or out of range."""
    wanted = {
        "folder": "a folder of generated pictures",
        "classifier": "--classifier, the one to measure",
        "out": "--out, the folder for the crops",
    }
    for name, what in wanted.items():
        if getattr(config, name) is None:
            problems.add(f"{name}: got nothing; give {what}")
    problems.at_least("batch_size", config.batch_size, 1)
    check_detector(config.detector, problems)
    check_detection(config.detector, config.detection, FaceDetection(), problems)
    if config.out is not None:
        check_writable(config.out, "out", problems)
        _check_place(Path(config.out), config, problems)
    return choose_device(config.device, problems)


def _check_place(out: Path, config: LabelledCropsConfig, problems: Problems) -> None:
    """Note a folder whose files must not be replaced."""
    if config.folder is not None and out.resolve().is_relative_to(Path(config.folder).resolve()):
        problems.add(f"out: got {out}, within the folder of the pictures; expected another place; give one beside it")
    elif not out.is_dir() or not any(out.iterdir()):
        return
    elif not config.overwrite:
        problems.add(
            f"out: got {out}, which holds something; expected a new or empty folder; give another --out, or "
            "--overwrite to replace crops and labels"
        )
    elif (out / LABELS_NAME).exists() and not _earlier_crops(out):
        problems.add(
            f"out: got {out}, whose {LABELS_NAME} this command has not written; expected a folder of its crops; give "
            "another --out"
        )


def _read_classes(config: LabelledCropsConfig, problems: Problems) -> dict[str, tuple[str, ...]]:
    """Return the classes of the classifier; none, and a note, where something is wrong with it."""
    if config.classifier is None:
        return {}
    before = len(problems.messages)
    check_classifier(config.classifier, "classifier", None, problems)
    return read_classes(config.classifier) if len(problems.messages) == before else {}


def _find_pictures(config: LabelledCropsConfig, problems: Problems) -> tuple[Labels, list[NotCounted]]:
    """Return the pictures with the classes dealt out to them, and what else there is, and why; note where none is."""
    found = None
    if config.folder is not None:
        with problems.collecting():
            found = find_images(config.folder)
    if found is None:
        return {}, []
    labels = {image.file: image.dealt_classes for image in found.images if image.dealt_classes}
    if not labels:
        what = f"whose {MANIFEST} names no dealt classes" if found.layout == "manifest" else f"without {MANIFEST}"
        problems.add(
            f"folder: got {config.folder}, {what}; expected pictures to which a method has dealt classes out; {_REMEDY}"
        )
    others = [NotCounted(image.file, NOT_DEALT) for image in found.images if image.file not in labels]
    return labels, [*found.skipped, *others]


def _check_labels(labels: Labels, classes: Mapping[str, Sequence[str]], problems: Problems) -> None:
    """Note classes that were dealt out and that the classifier does not know."""
    dealt: dict[str, dict[str, None]] = {}
    for own in labels.values():
        for attribute, name in own.items():
            dealt.setdefault(attribute, {})[name] = None
    if not dealt or not classes:
        return
    if not dealt.keys() & classes.keys():
        problems.add(
            f"classifier: got one of {', '.join(classes)}; expected one of {', '.join(dealt)}, of which classes were "
            "dealt out; give another classifier or other pictures"
        )
    for attribute in (name for name in classes if name in dealt):
        if strange := [name for name in dealt[attribute] if name not in classes[attribute]]:
            problems.add(
                f"classifier: got the classes {', '.join(classes[attribute])} of {attribute}; expected "
                f"{', '.join(strange)} among them, as dealt out; give another classifier, or generate towards a target "
                "in its names"
            )
