"""Records of edited images: faces that were to change, and what became of each set of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from fairlit.errors import ConfigurationError
from fairlit.io.atomic import atomic_write_text
from fairlit.io.notes import note_line, read_notes
from fairlit.results.files import SCHEMA, FileRecord, check_schema
from fairlit.results.judging import NotCounted
from fairlit.results.record import OPTIONAL_KEY, PlainData, Record, decode, encode


@dataclass(frozen=True, kw_only=True)
class EditRecord(Record):
    """One face that was to change.

    Attributes:
        box: place of the face as it was found, xyxy in pixels.
        before: attribute -> class that it was taken for.
        target_labels: attribute -> class that it was to show.
        tries: number of times that it was regenerated.
        instead: whether it was chosen in the place of a face that could not be changed.
        made: whether the classifier sees the target labels now; if not, the face is as it was.
        confirmed: whether the auditing classifier sees them too; None: it was not asked.
    """

    box: tuple[float, float, float, float]
    before: Mapping[str, str]
    target_labels: Mapping[str, str]
    tries: int
    instead: bool
    made: bool
    confirmed: bool | None = field(default=None, metadata=OPTIONAL_KEY)

    def to_json(self) -> dict[str, Any]:
        """Return the record as images carry it in their parameters."""
        return encode(self)

    @classmethod
    def from_json(cls, content: object, place: str = "edits") -> EditRecord:
        """Return the record that an image carries, also as fairlit 0.1.0 wrote it.

        Args:
            content: decoded JSON.
            place: name of its file, for messages.

        Raises:
            ConfigurationError: a key is missing or of another kind.
        """
        return decode(cls, _current_edit(content), place)


def read_edits(parameters: Mapping[str, Any] | None, place: str = "edits") -> list[EditRecord]:
    """Return the edits that an image carries in its parameters; none where it carries nothing.

    Args:
        parameters: what `pictures.files.read_parameters` found.
        place: name of the image, for messages.

    Raises:
        ConfigurationError: what stands there are no edits.
    """
    return [EditRecord.from_json(entry, place) for entry in (parameters or {}).get("edits", [])]


@dataclass(frozen=True, kw_only=True)
class ImageEdits(Record):
    """One image of a set.

    Attributes:
        file: name of the image in the folder of edited images.
        source: name of the file that it was made from, in its own folder.
        edits: faces that were to change.
        mark: size and time of change of the source.
        digest: digest of the image's file; None in files of earlier versions.
    """

    file: str
    source: str
    edits: tuple[EditRecord, ...]
    mark: tuple[int, int]
    digest: str | None = field(default=None, metadata=OPTIONAL_KEY)

    @property
    def changed(self) -> bool:
        """Whether any face of the image was changed."""
        return any(edit.made for edit in self.edits)


@dataclass(frozen=True, kw_only=True)
class DamagedImage(Record):
    """One image that cannot be read.

    Attributes:
        file: name of the file.
        reason: what is wrong with it.
        mark: size and time of change of the file.
    """

    file: str
    reason: str
    mark: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class SetEdits(Record):
    """One set of images that was brought to a target.

    Attributes:
        set: prompt of the images, or what else makes them a set.
        faces: number of faces that count.
        fewest: least number of faces that had to change for the set to come to the whole numbers nearest to the target.
        before: number of faces of each joint class as they were.
        after: number of faces of each joint class now.
        pixels: number of pixels of all images.
        pixels_in_regions: number of those that belong to changed faces.
        pixels_changed_outside: number of other pixels that differ now.
        compositions: number of faces in an image -> composition -> number of images before and after.
        images: images of the set that can be read.
        damaged: images of the set that cannot.
    """

    set: str
    faces: int
    fewest: int
    before: tuple[int, ...]
    after: tuple[int, ...]
    pixels: int
    pixels_in_regions: int
    pixels_changed_outside: int
    compositions: Mapping[str, Mapping[str, tuple[int, int]]]
    images: tuple[ImageEdits, ...]
    damaged: tuple[DamagedImage, ...]

    @property
    def edits(self) -> list[EditRecord]:
        """Faces that were to change, in all images."""
        return [edit for image in self.images for edit in image.edits]

    def to_json(self) -> dict[str, Any]:
        """Return the record as a line of edits.jsonl holds it."""
        return encode(self)

    @classmethod
    def from_json(cls, content: object, place: str = "edits") -> SetEdits:
        """Return the record of a line of edits.jsonl, also of one that fairlit 0.1.0 wrote.

        Args:
            content: decoded JSON.
            place: name of its file, for messages.

        Raises:
            ConfigurationError: a key is missing or of another kind.
        """
        return decode(cls, _current_set(content), place)


@dataclass(frozen=True, kw_only=True)
class EditLog:
    """The contents of edits.jsonl: settings, and the sets that are done.

    Attributes:
        settings: everything that the edits depend on, as plain data.
        sets: sets of images that are done, in the order in which they were.
    """

    VERSION: ClassVar[int] = 1

    settings: PlainData
    sets: Sequence[SetEdits]

    @classmethod
    def read(cls, path: Path) -> EditLog | None:
        """Return the log of a file; None where there is none, or its settings are damaged. Damaged sets are left out.

        Args:
            path: path of the file.

        Raises:
            ConfigurationError: a later version of fairlit wrote it.
        """
        lines = read_notes(path, without_digest=True)
        if not lines or lines[0] is None:
            return None
        check_schema(lines[0], cls.VERSION, str(path))
        settings = {key: value for key, value in lines[0].items() if key != SCHEMA}
        sets = []
        for entry in lines[1:]:
            with suppress(ConfigurationError):
                sets.append(SetEdits.from_json(entry, str(path)))
        return cls(settings=settings, sets=sets)

    def write(self, path: Path) -> None:
        """Write the log atomically.

        Args:
            path: path of the file.
        """
        lines = [{SCHEMA: self.VERSION, **self.settings}, *(entry.to_json() for entry in self.sets)]
        atomic_write_text(path, "".join(map(note_line, lines)))


@dataclass(frozen=True, kw_only=True)
class EditingSummary(Record):
    """Figures over all sets of a folder that was edited.

    Attributes:
        sets: number of sets.
        images: number of images that could be read.
        faces: number of faces that count.
        fewest: least number of faces that had to change for every set to come to the whole numbers nearest to the
            target.
        chosen: number of faces that were to change.
        instead: number of those that were chosen in the place of others that could not be changed.
        made: number of those that did change.
        tries: number of times that a face was regenerated.
        classes: joint class -> ``before`` and ``after`` -> number of faces.
        compositions: number of faces in an image -> composition -> number of images before and after.
        distance: ``before`` and ``after`` -> total variation distance between the faces of a set and the target, mean
            over sets; None without any face.
        asked: number of changes that the auditing classifier was asked about.
        confirmed: number of those that it sees too; None where it was not asked.
        confirmed_share: share of those that it sees too; None where it was not asked.
        confirmed_ci: exact 95 % interval of that share, which takes changes for independent.
        pixels_outside: number of pixels that belong to no changed face.
        pixels_changed_outside: number of those that differ from the source.
        damaged: files that cannot be read.
    """

    sets: int
    images: int
    faces: int
    fewest: int
    chosen: int
    instead: int
    made: int
    tries: int
    classes: Mapping[str, Mapping[str, int]]
    compositions: Mapping[str, Mapping[str, tuple[int, int]]]
    distance: Mapping[str, float | None]
    asked: int
    confirmed: int | None
    confirmed_share: float | None
    confirmed_ci: tuple[float, float] | None
    pixels_outside: int
    pixels_changed_outside: int
    damaged: tuple[DamagedImage, ...]


@dataclass(frozen=True, kw_only=True)
class EditingResults(FileRecord):
    """What became of a folder that was edited: the content of its results.json.

    Attributes:
        summary: figures over all sets.
        settings: everything that the edits depend on, as plain data.
        command: command line that makes these edits again.
        version: version of fairlit.
        made: when, in UTC.
        skipped: files that are missing, or not an image.
        sets: what became of each set.
    """

    FILE: ClassVar[str] = "results.json"

    summary: EditingSummary
    settings: PlainData
    command: str
    version: str
    made: str
    skipped: tuple[NotCounted, ...]
    sets: tuple[SetEdits, ...]

    @classmethod
    def _from_unversioned(cls, content: Mapping[str, Any]) -> Mapping[str, Any]:
        settings = dict(content.get("settings", {}))
        moved = {key: settings.pop(key) for key in ("command", "version", "made") if key in settings}
        return {**content, **moved, "settings": settings, "sets": [_current_set(entry) for entry in content["sets"]]}


def _current_edit(content: object) -> object:
    """An edit with today's keys; in fairlit 0.1.0 `target_labels` was called `wanted`."""
    if not isinstance(content, Mapping):
        return content
    return {"target_labels" if key == "wanted" else key: value for key, value in content.items()}


def _current_set(content: object) -> object:
    """A set with today's keys."""
    if not isinstance(content, Mapping) or not isinstance(content.get("images"), list):
        return content
    images = [
        {**image, "edits": [_current_edit(edit) for edit in image.get("edits", [])]}
        for image in content["images"]
        if isinstance(image, Mapping)
    ]
    return {**content, "images": images}
