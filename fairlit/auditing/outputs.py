"""What audits and comparisons write alike: tables of images and faces, and lines of provenance."""

from __future__ import annotations

import csv
import io
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from fairlit.auditing.judged_folder import JudgedFolder
from fairlit.faces import FaceClassifier
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.io.atomic import atomic_write_text
from fairlit.io.digests import fairlit_version
from fairlit.io.foreign_text import cell, printable
from fairlit.pictures.chart_forms import FIGURES
from fairlit.results.judging import EncodersRecord, JudgeRecord, Origin
from fairlit.results.record import encode

RESULTS, PER_IMAGE, REPORT = "results.json", "per_image.csv", "report.html"
PER_FACE = "per_face.csv"
_CHARTS = ("shares*", "prompts*", "joint", "people", "methods")
FILES = (
    RESULTS,
    REPORT,
    PER_IMAGE,
    PER_FACE,
    *(f"{FIGURES}/{name}.{form}" for name in _CHARTS for form in ("png", "svg")),
)
"""Everything that a report consists of, as patterns of names in its folder."""


def origin(seed: int, command: str) -> Origin:
    """Return how results come about that are made now."""
    made = datetime.now(UTC).isoformat(timespec="seconds")
    return Origin(seed=seed, version=fairlit_version(), made=made, command=printable(command))


def write_table(
    path: Path,
    folders: Mapping[str, JudgedFolder],
    target: TargetDistribution,
    *,
    further: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
) -> None:
    """Write ``per_image.csv``: one line an image, what it is, where its face is, the probability of every class.

    Args:
        path: path of the file.
        folders: label -> images and what was seen in them.
        target: target distribution; it names the attributes and classes.
        further: label -> column -> a number for each image of that folder, NaN for none; the same columns for all.
    """
    stream = io.StringIO()
    columns = [f"{attribute}:{name}" for attribute, names in target.classes.items() for name in names]
    more = list(next(iter(further.values()), {})) if further else []
    writer = csv.writer(stream, lineterminator="\n")
    sides = ("left", "top", "right", "bottom")
    head = ["folder", "file", "prompt", "number", "status", "width", "height", *sides, "score", *columns, *more]
    writer.writerow(map(cell, head))
    for label, judged in folders.items():
        beside = [further[label][name] for name in more] if further else []
        for place, (image, seen) in enumerate(zip(judged.folder.images, judged.seen, strict=True)):
            probabilities = [p for name in target.classes for p in seen.probabilities.get(name, ())]
            told = (label, image.file, judged.folder.prompts[image.prompt], image.number, seen.status)
            row = list(map(cell, told))
            row += [seen.width or "", seen.height or "", *(seen.box or ("",) * 4)]
            row += ["" if seen.score is None else seen.score, *(probabilities or ("",) * len(columns))]
            numbers = ["" if values[place] != values[place] else round(values[place], 5) for values in beside]
            writer.writerow([*row, *numbers])
    atomic_write_text(path, stream.getvalue())


def write_faces(path: Path, folders: Mapping[str, JudgedFolder], target: TargetDistribution) -> None:
    """Write ``per_face.csv``: one line a face that counts, the largest of an image first.

    Args:
        path: path of the file.
        folders: label -> images and what was seen in them.
        target: target distribution; it names the attributes and classes.
    """
    stream = io.StringIO()
    columns = [f"{attribute}:{name}" for attribute, names in target.classes.items() for name in names]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["folder", "file", "prompt", "face", "left", "top", "right", "bottom", "score", *map(cell, columns)]
    )
    for label, judged in folders.items():
        for image, seen in zip(judged.folder.images, judged.seen, strict=True):
            for number, face in enumerate(seen.faces):
                probabilities = [p for name in target.classes for p in face.probabilities[name]]
                row = map(cell, (label, image.file, judged.folder.prompts[image.prompt], number))
                writer.writerow([*row, *face.box, face.score, *probabilities])
    atomic_write_text(path, stream.getvalue())


def judge_alarm(judge: JudgeRecord, attributes: Iterable[str]) -> str:
    """Return what has to stand above all figures of a classifier that has learnt nothing; empty for any other.

    Args:
        judge: record of the judge.
        attributes: attributes that it is asked about.
    """
    known = judge.balanced_accuracy or {}
    unlearnt = [name for name in attributes if name in (judge.learnt_nothing or ())]
    if not unlearnt:
        return ""
    told = ", ".join(f"{name.replace('_', ' ')} (balanced accuracy {known[name]:.2f})" for name in unlearnt)
    return (
        f"By its own validation, this classifier knows no more than chance about {told}. Figures about it here mean "
        "nothing; judge with another classifier."
    )


def judge_limits(classifier: FaceClassifier, target: TargetDistribution) -> str:
    """Return what is known of how often a classifier errs about the target's attributes."""
    rates = []
    for name, table in classifier.confusion.items():
        if name in target.classes and int(table.sum()):
            right = 100 * float(table.diagonal().sum()) / float(table.sum())
            known = classifier.reliability.get(name)
            balanced = "" if known is None else f" (balanced accuracy {known.balanced_accuracy:.2f})"
            rates.append(f"{name.replace('_', ' ')} in {right:.1f} % of {int(table.sum())}{balanced}")
    if not rates:
        return "The classifier brings no validation figures: nothing is known here about how often it is right."
    return (
        f"On validation faces the classifier was right about {', '.join(rates)}. On generated faces it may be right "
        "less often. The figures at the top are not corrected for its errors; a table of their own says what would be "
        "left of them."
    )


def judge_lines(judge: JudgeRecord) -> dict[str, str]:
    """Return the provenance of a judge."""
    called = {
        "classifier": judge.classifier,
        "second classifier": judge.second_classifier,
        "detector": judge.detector,
    }
    keys = {name: name.replace(" ", "_") for name in called}
    return {
        name: f"{_compact(told)} (digest {judge.digests[keys[name]]})"
        for name, told in called.items()
        if keys[name] in judge.digests
    }


def encoder_line(encoders: EncodersRecord) -> str:
    """Return the provenance of encoders."""
    return _compact(encode(encoders))


def version_lines(made: Origin) -> dict[str, str]:
    """Return the provenance of the program."""
    return {
        "fairlit": made.version,
        "torch": f"{torch.__version__}, Python {platform.python_version()}",
        "made": made.made,
    }


def _compact(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
