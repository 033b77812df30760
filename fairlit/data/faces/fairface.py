"""FairFace in its public layout (Karkkainen and Joo, WACV 2021): balanced over seven groups, which it calls races.

A folder holds `fairface_label_train.csv` and `fairface_label_val.csv` with the columns file, age, gender, race and
service_test, and the images that they name below it (`train/1.jpg`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fairlit.data.faces.datamodule import FaceDataModule, LabelledFile, label_indices, note_missing_files, read_table
from fairlit.errors import Problems
from fairlit.faces.class_merging import Classes

TABLES = {"train": "fairface_label_train.csv", "val": "fairface_label_val.csv"}


class FairFace(FaceDataModule):
    """Batches out of FairFace's folder, or any other of the same layout.

    It has no test split: `fairlit test` looks at the validation images, on which the temperatures were fitted.

    Args:
        folder: Where the two tables are.
        classes: Columns to learn -> their classes: a list of labels, or class -> the labels that are merged into it.
        **settings: Of `FaceDataModule`.
    """

    def __init__(self, folder: str, classes: Classes, **settings: Any) -> None:
        super().__init__(classes, **settings)
        self.folder = folder

    def read(self) -> list[LabelledFile]:
        """Reads and checks both tables."""
        root, files = Path(self.folder), []
        with Problems("FairFace") as problems:
            for split, name in TABLES.items():
                rows = read_table(root / name, ("file", *self.classes), problems)
                labels = label_indices(rows, self.classes, root / name, problems=problems)
                paths = [root / row["file"] for row in rows]
                note_missing_files(paths, root / name, problems)
                for used in (split, "test") if split == "val" else (split,):
                    files += [LabelledFile(path, used, found) for path, found in zip(paths, labels, strict=True)]
        return files
