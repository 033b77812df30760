"""`labels.csv` of a folder of faces, as it is written; `labelled_folders` reads it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fairlit.io.atomic import atomic_write_text

LABELS_NAME = "labels.csv"


@dataclass(frozen=True)
class LabelsRow:
    """A face, and how it is labelled.

    Attributes:
        file: file of the image, relative to the folder.
        labels: attribute -> label; an attribute without one gets an empty cell.
        split: train, val or test.
    """

    file: str
    labels: Mapping[str, str]
    split: str = "val"


def write_labels(folder: Path, attributes: Sequence[str], rows: Iterable[LabelsRow]) -> Path:
    """Write `labels.csv` atomically and return its path.

    Args:
        folder: folder of the images.
        attributes: attributes in the order of their columns.
        rows: the faces in the order of their rows.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["file", "split", *attributes])
    table.writerows([row.file, row.split, *(row.labels.get(name, "") for name in attributes)] for row in rows)
    return atomic_write_text(folder / LABELS_NAME, text.getvalue())
