"""Looks at every image once: reads it, finds its faces, classifies them, and notes the result on disk.

Images stream through in batches, so memory does not grow with their number but for a few numbers each. What was
noted is not looked at again: an audit that was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from fairlit.errors import ConfigurationError
from fairlit.faces import FaceClassifier, Faces
from fairlit.faces.detection import FaceSelection
from fairlit.faces.observation import observe
from fairlit.io.atomic import atomic_write_text
from fairlit.io.digests import module_digest, text_digest
from fairlit.io.file_status import FileMark, file_mark
from fairlit.io.finiteness import require_finite
from fairlit.io.jsonable import to_jsonable
from fairlit.io.notes import note_line, read_notes
from fairlit.judging.image_folders import ImageFolder
from fairlit.pictures.batches import read_batches
from fairlit.results.judging import JudgeRecord
from fairlit.results.record import PlainData, encode


@dataclass(frozen=True)
class SeenFace:
    """One face.

    Attributes:
        box: xyxy in pixels.
        score: the detector's confidence in it.
        probabilities: attribute -> probability of each class.
        second: the same by the second classifier, in the same order of classes; empty without one.
    """

    box: tuple[float, float, float, float]
    score: float
    probabilities: Mapping[str, Sequence[float]]
    second: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """What was seen in one file.

    Attributes:
        damaged: why it cannot be read; None where it can.
        width: in pixels.
        height: in pixels.
        box: of the largest face, xyxy in pixels; None: no face was found.
        score: the detector's confidence in it.
        probabilities: attribute -> probability of each class, of the largest face; empty without one.
        second: the same by the second classifier; empty without one.
        others: the smaller faces, where all count.
    """

    damaged: str | None = None
    width: int = 0
    height: int = 0
    box: tuple[float, float, float, float] | None = None
    score: float | None = None
    probabilities: Mapping[str, Sequence[float]] = field(default_factory=dict)
    second: Mapping[str, Sequence[float]] = field(default_factory=dict)
    others: Sequence[SeenFace] = ()

    @property
    def faces(self) -> list[SeenFace]:
        """Every face that counts, the largest first."""
        if self.box is None or self.score is None:
            return []
        return [SeenFace(self.box, self.score, self.probabilities, self.second), *self.others]

    @property
    def status(self) -> str:
        """``face``, ``no face`` or ``damaged``."""
        return "damaged" if self.damaged is not None else "no face" if self.box is None else "face"


@dataclass(frozen=True)
class Judge:
    """Detector and classifier that judge images.

    Attributes:
        detector: from images [N, 3, H, W] in [0, 1] to `Faces`.
        classifier: classifier of perceived attributes.
        names: ``classifier``, ``second_classifier`` and ``detector`` -> what the user called them, as plain data.
        faces: faces of an image that count.
        second: another classifier, which looks at the same faces; None: none.
    """

    detector: nn.Module
    classifier: FaceClassifier
    names: PlainData
    faces: FaceSelection = "largest"
    second: FaceClassifier | None = None

    def record(self) -> JudgeRecord:
        """Return names, digests and reliability: two audits with equal records were judged alike."""
        known = self.classifier.reliability
        digests = {"classifier": module_digest(self.classifier), "detector": module_digest(self.detector)}
        if self.second is not None:
            digests["second_classifier"] = module_digest(self.second)
        for name, classifier in (("classifier", self.classifier), ("second_classifier", self.second)):
            if classifier is not None and classifier.fingerprint:
                digests[f"{name}_settings"] = text_digest(classifier.fingerprint)
        return JudgeRecord(
            classifier=to_jsonable(self.names.get("classifier", "")),
            detector=to_jsonable(self.names.get("detector", "")),
            faces=self.faces,
            digests=digests,
            balanced_accuracy={name: one.balanced_accuracy for name, one in known.items()} or None,
            learnt_nothing=tuple(name for name, one in known.items() if not one.has_learnt) or None,
            second_classifier=to_jsonable(self.names.get("second_classifier")),
        )

    @torch.no_grad()
    def look(self, images: Tensor) -> list[Seen]:
        """Return what is seen in N images uint8 [N, 3, H, W] of one size.

        Raises:
            ConfigurationError: the detector gives anything but `Faces`.
        """
        pixels = images.to(self.classifier.device).float().div_(255)
        detector = partial(find_faces, self.detector)
        observation = observe(pixels, detector, self.classifier, selection=self.faces).to("cpu")
        second = self._second(pixels, observation.faces.to(pixels.device))
        height, width = images.shape[-2:]
        found: list[list[SeenFace]] = [[] for _ in images]
        for face, image in enumerate(observation.faces.image_index.tolist()):
            left, top, right, bottom = (round(side, 2) for side in observation.faces.boxes[face].tolist())
            score = round(float(observation.faces.scores[face]), 4)
            own, other = (_rounded(rows, face) for rows in (observation.probabilities, second))
            found[image].append(SeenFace((left, top, right, bottom), score, own, other))
        return [_seen(width, height, faces) for faces in found]

    def _second(self, pixels: Tensor, faces: Faces) -> dict[str, Tensor]:
        """Return the second classifier's probabilities [F, K], classes in the first one's order; empty without it."""
        if self.second is None:
            return {}
        found = {}
        logits = self.second.classify(pixels, faces)
        for name, classes in self.classifier.classes.items():
            own = self.second.classes.get(name, ())
            if set(own) == set(classes):
                rows = require_finite(logits[name].float().softmax(dim=1), f"second classifier: {name}")
                found[name] = rows[:, [own.index(label) for label in classes]].cpu()
        return found


def find_faces(detector: nn.Module, images: Tensor) -> Faces:
    """Return the faces that a detector finds in images [N, 3, H, W] in [0, 1].

    Raises:
        ConfigurationError: the detector gives anything but `Faces`.
    """
    faces = detector(images)
    if not isinstance(faces, Faces):
        raise ConfigurationError(
            f"detector: got {type(faces).__name__} from it; expected fairlit.faces.Faces; return these instead"
        )
    return faces


def _rounded(probabilities: Mapping[str, Tensor], face: int) -> dict[str, list[float]]:
    return {name: [round(p, 5) for p in rows[face].tolist()] for name, rows in probabilities.items()}


def _seen(width: int, height: int, faces: Sequence[SeenFace]) -> Seen:
    if not faces:
        return Seen(width=width, height=height)
    first, *others = faces
    return Seen(None, width, height, first.box, first.score, first.probabilities, first.second, tuple(others))


def observe_folder(
    folder: ImageFolder,
    judge: Judge,
    notes: Path,
    *,
    batch_size: int = 16,
    progress: Callable[[int], None] = lambda count: None,
) -> list[Seen]:
    """Look at all images of a folder, or recall what was seen in them.

    Args:
        folder: images to look at.
        judge: detector and classifier.
        notes: file of what was seen, one line an image; notes of another judge, or of files that have changed, are
            not used.
        batch_size: largest number of images looked at together; there are fewer where they have many pixels.
        progress: function that is told the number of images done since the last call.

    Returns:
        What was seen in each image, in the folder's order.
    """
    header = note_line({"judge": encode(judge.record())})
    known = _recall(notes, header)
    marks = {image.file: file_mark(folder.root / image.file) for image in folder.images}
    seen = {file: known[mark] for file, mark in marks.items() if mark in known}
    lines = [header, *(_line(marks[file], entry) for file, entry in seen.items())]
    atomic_write_text(notes, "".join(lines))  # without damaged lines, and what is no longer there
    progress(len(seen))
    left = [image.file for image in folder.images if image.file not in seen]
    with notes.open("a", encoding="utf-8") as stream:
        for batch in read_batches(folder.root, left, batch_size=batch_size):
            found = {file: Seen(damaged=reason) for file, reason in batch.refused.items()}
            if batch.files:
                found |= zip(batch.files, judge.look(torch.stack(batch.pictures)), strict=True)
            seen |= found
            stream.writelines(_line(marks[file], entry) for file, entry in found.items())
            stream.flush()
            progress(len(found))
    return [seen[image.file] for image in folder.images]


def _line(mark: FileMark, seen: Seen) -> str:
    return note_line({"mark": mark, **asdict(seen)})


def _recall(notes: Path, header: str) -> dict[FileMark, Seen]:
    """What notes say; nothing where they are another judge's."""
    lines = read_notes(notes)
    known: dict[FileMark, Seen] = {}
    if not lines or lines[0] is None or note_line(lines[0]) != header:
        return known
    for entry in lines[1:]:
        if entry is None:
            continue
        try:
            mark = entry.pop("mark")
            box = entry.pop("box")
            others = tuple(SeenFace(tuple(face.pop("box")), **face) for face in entry.pop("others"))
            known[mark[0], mark[1], mark[2]] = Seen(box=None if box is None else tuple(box), others=others, **entry)
        except (KeyError, TypeError):  # of another version of fairlit
            continue
    return known
