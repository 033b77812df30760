"""What results say of who judged, and of the images that were judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fairlit.results.record import OPTIONAL_KEY, PlainData, Record


@dataclass(frozen=True, kw_only=True)
class JudgeRecord(Record):
    """Detector and classifier that judged: with equal records, images were judged alike.

    Attributes:
        classifier: what the user called the classifier.
        detector: what the user called the detector: its name, or its class and settings.
        faces: which faces of an image counted.
        second_classifier: what the user called the second classifier; None without one.
        digests: ``classifier``, ``second_classifier`` and ``detector`` -> digest of its weights;
            ``classifier_settings`` and ``second_classifier_settings`` -> digest of what decides a classifier's answers
            beside them, such as temperatures, crops and words.
        balanced_accuracy: attribute -> balanced accuracy on the classifier's validation faces; None without any.
        learnt_nothing: attributes of which the classifier knew no more than chance there; None where there are none.
    """

    classifier: object = ""
    detector: object = ""
    faces: Literal["largest", "all"]
    digests: Mapping[str, str]
    balanced_accuracy: Mapping[str, float] | None = field(default=None, metadata=OPTIONAL_KEY)
    learnt_nothing: tuple[str, ...] | None = field(default=None, metadata=OPTIONAL_KEY)
    second_classifier: object = field(default=None, metadata=OPTIONAL_KEY)


@dataclass(frozen=True, kw_only=True)
class EncodersRecord(Record):
    """Encoders that similarities were measured with.

    Attributes:
        clip: what the user called CLIP; None without.
        dino: what the user called DINO; None without.
        digests: ``clip`` and ``dino`` -> digest of its weights.
    """

    clip: str | None = field(default=None, metadata=OPTIONAL_KEY)
    dino: str | None = field(default=None, metadata=OPTIONAL_KEY)
    digests: Mapping[str, str]


@dataclass(frozen=True)
class NotCounted(Record):
    """A file that is not counted.

    Attributes:
        file: its path, relative to the folder.
        reason: why it is not counted.
    """

    file: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class FolderRecord(Record):
    """A folder of images, and how many of them could be judged.

    Attributes:
        folder: its path.
        layout: ``manifest``, ``published`` or ``folders``, see `judging.image_folders`.
        prompts: number of prompts.
        images: number of images.
        with_face: number of images with a face.
        no_face: number of images without a face that the detector finds.
        damaged: number of images that cannot be read.
        skipped: number of further entries that are missing or not an image.
        not_counted: what is missing, damaged, or not an image, with the reasons.
        without_face: files of the images without a face.
    """

    folder: str
    layout: Literal["manifest", "published", "folders"]
    prompts: int
    images: int
    with_face: int
    no_face: int
    damaged: int
    skipped: int
    not_counted: tuple[NotCounted, ...]
    without_face: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Origin(Record):
    """How results came about.

    Attributes:
        seed: seed of bootstrap and Monte-Carlo draws.
        version: version of fairlit.
        made: date and time, in UTC.
        command: command that makes the results again; empty where they were made from Python.
    """

    seed: int
    version: str
    made: str
    command: str


__all__ = ["EncodersRecord", "FolderRecord", "JudgeRecord", "NotCounted", "Origin", "PlainData"]
