"""`labels.csv` of a folder of faces, as it is written; `labelled_folders` reads it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from fairlit.io.atomic import atomic_write_text

LABELS_NAME = "labels.csv"


def write_labels(folder: Path, attributes: Sequence[str], labels: Mapping[str, Mapping[str, str]]) -> Path:
    """Write `labels.csv` atomically, with all faces in the validation split, and return its path.

    Args:
        folder: folder of the images.
        attributes: attributes in the order of their columns.
        labels: file, relative to the folder -> attribute -> label; an attribute without one gets an empty cell.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["file", "split", *attributes])
    table.writerows([file, "val", *(own.get(name, "") for name in attributes)] for file, own in labels.items())
    return atomic_write_text(folder / LABELS_NAME, text.getvalue())
