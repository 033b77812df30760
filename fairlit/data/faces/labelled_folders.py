"""A folder of faces with a table of labels: the simplest way to give one's own.

A folder holds images of faces and `labels.csv`: the columns `file` (path within the folder), `split` (train, val or
test) and one for each attribute with labels; an empty cell means that nobody labelled that attribute.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from fairlit.data.faces.datamodule import (
    SPLITS,
    FaceDataModule,
    LabelledFile,
    label_indices,
    note_missing_files,
    read_table,
)
from fairlit.data.faces.labels_table import LABELS_NAME
from fairlit.errors import Problems
from fairlit.faces.class_merging import Classes


def read_labels(folder: str | Path, classes: Classes) -> list[LabelledFile]:
    """Reads and checks `labels.csv`.

    Args:
        folder: Where `labels.csv` and the images are.
        classes: Attribute -> its classes, as in a config; further columns are ignored.

    Returns:
        One entry a row.

    Raises:
        ConfigurationError: Naming every missing column, unknown label or split, and missing file.
    """
    root, path = Path(folder), Path(folder) / LABELS_NAME
    with Problems("labels") as problems:
        rows = read_table(path, ("file", "split", *classes), problems)
        for split, count in Counter(row["split"] for row in rows if row["split"] not in SPLITS).items():
            problems.add(f"{path}: 'split' is {split!r} in {count} rows: give one of {', '.join(SPLITS)}")
        labels = label_indices(rows, classes, path, problems=problems)
        paths = [root / row["file"] for row in rows]
        note_missing_files(paths, path, problems)
    return [LabelledFile(file, row["split"], found) for file, row, found in zip(paths, rows, labels, strict=True)]


class LabelledFaces(FaceDataModule):
    """Batches out of a folder with `labels.csv`.

    Args:
        folder: Where `labels.csv` and the images are.
        classes: Attribute -> its classes: a list of labels, or class -> the labels that are merged into it.
        **settings: Of `FaceDataModule`.
    """

    def __init__(self, folder: str, classes: Classes, **settings: Any) -> None:
        super().__init__(classes, **settings)
        self.folder = folder

    def read(self) -> list[LabelledFile]:
        """Reads and checks `labels.csv`."""
        return read_labels(self.folder, self.classes)
