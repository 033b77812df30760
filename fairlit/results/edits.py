"""Records of edited images: faces that were to change, and what became of each set of images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fairlit.errors import CheckpointError
from fairlit.io.atomic import atomic_path

EDITS_SCHEMA = 1
"""Version of edits.jsonl; files of fairlit 0.1.0 say none, and are read too."""


@dataclass(frozen=True, kw_only=True)
class EditRecord:
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
    confirmed: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the record as images carry it in their parameters."""
        content = asdict(self) | {"box": list(self.box)}
        if self.confirmed is None:
            del content["confirmed"]
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> EditRecord:
        """Read a record, also as fairlit 0.1.0 wrote it, where `target_labels` was called `wanted`.

        Raises:
            CheckpointError: a field is missing or of another kind.
        """
        try:
            left, top, right, bottom = map(float, content["box"])
            labels = content["target_labels"] if "target_labels" in content else content["wanted"]
            return cls(
                box=(left, top, right, bottom),
                before=dict(content["before"]),
                target_labels=dict(labels),
                tries=int(content["tries"]),
                instead=bool(content["instead"]),
                made=bool(content["made"]),
                confirmed=content.get("confirmed"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"edits: got {content!r}; expected the record of an edit ({error})") from error


def read_edits(parameters: Mapping[str, Any] | None) -> list[EditRecord]:
    """Return the edits that an image carries in its parameters; none where it carries nothing.

    Args:
        parameters: what `pictures.files.read_parameters` found.

    Raises:
        CheckpointError: what stands there is no list of edits.
    """
    return [EditRecord.from_dict(entry) for entry in (parameters or {}).get("edits", [])]


@dataclass(frozen=True, kw_only=True)
class ImageEdits:
    """One image of a set.

    Attributes:
        file: name of the image in the folder of edited images.
        source: name of the file that it was made from, in its own folder.
        edits: faces that were to change.
        mark: size and time of change of the source.
    """

    file: str
    source: str
    edits: Sequence[EditRecord]
    mark: tuple[int, int]

    @property
    def changed(self) -> bool:
        """Whether any face of the image was changed."""
        return any(edit.made for edit in self.edits)


@dataclass(frozen=True, kw_only=True)
class DamagedImage:
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
class SetEdits:
    """One set of images that was brought to a target.

    Attributes:
        name: prompt of the images, or what else makes them a set.
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

    name: str
    faces: int
    fewest: int
    before: Sequence[int]
    after: Sequence[int]
    pixels: int
    pixels_in_regions: int
    pixels_changed_outside: int
    compositions: Mapping[str, Mapping[str, tuple[int, int]]]
    images: Sequence[ImageEdits]
    damaged: Sequence[DamagedImage]

    @property
    def edits(self) -> list[EditRecord]:
        """Faces that were to change, in all images."""
        return [edit for image in self.images for edit in image.edits]

    def to_dict(self) -> dict[str, Any]:
        """Return the record as a line of edits.jsonl holds it."""
        content = asdict(replace(self, images=(), damaged=()))
        del content["name"]
        images = [asdict(replace(image, edits=())) for image in self.images]
        for entry, image in zip(images, self.images, strict=True):
            entry["edits"] = [edit.to_dict() for edit in image.edits]
        damaged = [asdict(entry) for entry in self.damaged]
        return {"set": self.name, **content, "images": images, "damaged": damaged}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SetEdits:
        """Read a line of edits.jsonl, also one that fairlit 0.1.0 wrote.

        Raises:
            CheckpointError: a field is missing or of another kind.
        """
        try:
            return cls(
                name=str(content["set"]),
                faces=int(content["faces"]),
                fewest=int(content["fewest"]),
                before=tuple(map(int, content["before"])),
                after=tuple(map(int, content["after"])),
                pixels=int(content["pixels"]),
                pixels_in_regions=int(content["pixels_in_regions"]),
                pixels_changed_outside=int(content["pixels_changed_outside"]),
                compositions={
                    number: {name: (int(before), int(after)) for name, (before, after) in counts.items()}
                    for number, counts in content["compositions"].items()
                },
                images=tuple(map(_image, content["images"])),
                damaged=tuple(
                    DamagedImage(file=entry["file"], reason=entry["reason"], mark=_mark(entry["mark"]))
                    for entry in content["damaged"]
                ),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"edits: a set of edits lacks what it should hold ({error!r})") from error


@dataclass(frozen=True, kw_only=True)
class EditLog:
    """The contents of edits.jsonl: settings, and the sets that are done.

    Attributes:
        settings: everything that the edits depend on, as plain data.
        sets: sets of images that are done, in the order in which they were.
    """

    settings: Mapping[str, Any]
    sets: Sequence[SetEdits]

    @classmethod
    def read(cls, path: Path) -> EditLog | None:
        """Read a log; None where there is none. Lines that a killed process cut short are left out.

        Raises:
            CheckpointError: a later version of fairlit wrote it, or it holds something else.
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError:
            return None
        found = [entry for line in lines if isinstance(entry := _parsed(line), dict)]
        if not found:
            return None
        settings = dict(found[0])
        schema = settings.pop("schema", 0)
        if not isinstance(schema, int) or schema > EDITS_SCHEMA:
            raise CheckpointError(
                f"{path}: got schema {schema!r}; expected at most {EDITS_SCHEMA}; read it with a later fairlit"
            )
        return cls(settings=settings, sets=[SetEdits.from_dict(entry) for entry in found[1:]])

    def write(self, path: Path) -> None:
        """Write the log atomically."""
        lines = [{"schema": EDITS_SCHEMA, **self.settings}, *(entry.to_dict() for entry in self.sets)]
        with atomic_path(path) as temporary:
            temporary.write_text("".join(map(log_line, lines)), encoding="utf-8")


def log_line(content: Mapping[str, Any]) -> str:
    """Return one line of edits.jsonl."""
    return json.dumps(content, ensure_ascii=False) + "\n"


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:  # cut short by a kill
        return None


def _image(content: Mapping[str, Any]) -> ImageEdits:
    return ImageEdits(
        file=content["file"],
        source=content["source"],
        edits=tuple(map(EditRecord.from_dict, content["edits"])),
        mark=_mark(content["mark"]),
    )


def _mark(content: Sequence[int]) -> tuple[int, int]:
    size, changed = content
    return int(size), int(changed)
