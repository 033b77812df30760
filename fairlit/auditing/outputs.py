"""What audits and comparisons write alike: results, the table of images, charts, and lines of provenance."""

from __future__ import annotations

import csv
import io
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from fairlit.auditing.report import Audited
from fairlit.faces import FaceClassifier
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.io.atomic import atomic_path, atomic_write_text
from fairlit.io.digests import fairlit_version
from fairlit.io.jsonable import to_jsonable

RESULTS, PER_IMAGE, REPORT, FIGURES = "results.json", "per_image.csv", "report.html", "figures"
PER_FACE = "per_face.csv"


def write_results(path: Path, results: Mapping[str, Any]) -> dict[str, Any]:
    """Writes ``results.json`` and returns what stands in it; numbers that are not finite become null."""
    content = to_jsonable(results)
    atomic_write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return dict(content)


def write_charts(out: Path, charts: Mapping[str, Mapping[str, bytes]]) -> None:
    """Writes charts, from `charts.draw`, as PNG and SVG below ``figures``."""
    for name, forms in charts.items():
        for form in ("png", "svg"):
            with atomic_path(out / FIGURES / f"{name}.{form}") as temporary:
                temporary.write_bytes(forms[form])


def write_table(
    path: Path,
    folders: Mapping[str, Audited],
    target: TargetDistribution,
    further: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
) -> None:
    """Writes ``per_image.csv``: one line an image, what it is, where its face is, the probability of every class.

    Args:
        path: of the file.
        folders: label -> images and what was seen in them.
        target: names the attributes and classes.
        further: label -> column -> a number for each image of that folder, NaN for none; the same columns for all.
    """
    stream = io.StringIO()
    columns = [f"{attribute}:{name}" for attribute, names in target.classes.items() for name in names]
    more = list(next(iter(further.values()), {})) if further else []
    writer = csv.writer(stream, lineterminator="\n")
    sides = ("left", "top", "right", "bottom")
    head = ["folder", "file", "prompt", "number", "status", "width", "height", *sides, "score", *columns, *more]
    writer.writerow(head)
    for label, audited in folders.items():
        beside = [further[label][name] for name in more] if further else []
        for place, (image, seen) in enumerate(zip(audited.folder.images, audited.seen, strict=True)):
            probabilities: list[Any] = [p for name in target.classes for p in seen.probabilities.get(name, ())]
            box: Sequence[Any] = seen.box or ("",) * 4
            row = [label, image.file, audited.folder.prompts[image.prompt], image.number, seen.status]
            score = "" if seen.score is None else seen.score
            numbers = ["" if values[place] != values[place] else round(values[place], 5) for values in beside]
            found = probabilities or [""] * len(columns)
            writer.writerow([*row, seen.width or "", seen.height or "", *box, score, *found, *numbers])
    atomic_write_text(path, stream.getvalue())


def write_faces(path: Path, folders: Mapping[str, Audited], target: TargetDistribution) -> None:
    """Writes ``per_face.csv``: one line a face that counts, the largest of an image first.

    Args:
        path: of the file.
        folders: label -> images and what was seen in them.
        target: names the attributes and classes.
    """
    stream = io.StringIO()
    columns = [f"{attribute}:{name}" for attribute, names in target.classes.items() for name in names]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["folder", "file", "prompt", "face", "left", "top", "right", "bottom", "score", *columns])
    for label, audited in folders.items():
        for image, seen in zip(audited.folder.images, audited.seen, strict=True):
            for number, face in enumerate(seen.faces):
                probabilities = [p for name in target.classes for p in face.probabilities[name]]
                row = [label, image.file, audited.folder.prompts[image.prompt], number]
                writer.writerow([*row, *face.box, face.score, *probabilities])
    atomic_write_text(path, stream.getvalue())


def judge_limits(classifier: FaceClassifier, target: TargetDistribution) -> str:
    """What is known of how often a classifier errs about the target's attributes."""
    rates = []
    for name, table in classifier.confusion.items():
        if name in target.classes and int(table.sum()):
            right = 100 * float(table.diagonal().sum()) / float(table.sum())
            rates.append(f"{name.replace('_', ' ')} in {right:.1f} % of {int(table.sum())}")
    if not rates:
        return "The classifier brings no validation figures: nothing is known here about how often it is right."
    return (
        f"On validation faces the classifier was right about {', '.join(rates)}. On generated faces it may be right "
        "less often. The figures at the top are not corrected for its errors; a table of their own says what would be "
        "left of them."
    )


def judge_lines(judge: Mapping[str, Any]) -> dict[str, str]:
    """Provenance of a judge, from `Judge.describe`."""
    digests = judge["digests"]
    return {
        "classifier": f"{judge.get('classifier', '')} (digest {digests['classifier']})",
        "detector": f"{_compact(judge.get('detector', ''))} (digest {digests['detector']})",
    }


def version_lines(made: str) -> dict[str, str]:
    """Provenance of the program."""
    return {
        "fairlit": fairlit_version(),
        "torch": f"{torch.__version__}, Python {platform.python_version()}",
        "made": made,
    }


def _compact(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
