"""CelebA in its public layout (Liu et al., ICCV 2015): faces of celebrities with forty attributes, present or not.

A folder holds `list_attr_celeba.txt` (a count, a line of attribute names, then lines of a file name and -1 or 1 for
each attribute), `list_eval_partition.txt` (lines of a file name and 0, 1 or 2: train, val, test) and the images. Kaggle
has the same lists as `.csv`, with a line of column names each, and the folder of images in another one of that name.

Every attribute of CelebA gives two labels, its name and its name after `not`:

    classes:
      gender: {female: [not Male], male: [Male]}
      hair: {black: [Black_Hair], blond: [Blond_Hair]}   # who has neither, or both, is left out for this attribute
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fairlit.data.faces.datamodule import (
    LISTED,
    MAX_TABLE_BYTES,
    SPLITS,
    UNLABELLED,
    FaceDataModule,
    LabelledFile,
    Window,
    note_missing_files,
    read_cells,
)
from fairlit.errors import Problems
from fairlit.faces.class_merging import Classes, class_of_label
from fairlit.io.text_files import read_text

ATTRIBUTES_NAME, PARTITION_NAME = "list_attr_celeba", "list_eval_partition"
_IMAGE_COLUMN, _PARTITION_COLUMN = "image_id", "partition"  # of Kaggle's lists
NOT = "not "
SQUARE: Window = (
    0,
    27,
    178,
    205,
)  # of the aligned 178 x 218 images: faces as `aligned` crops with margin 0.23 cut them


class CelebA(FaceDataModule):
    """Batches out of CelebA's folder.

    Args:
        folder: Where the two lists (.txt, or .csv as Kaggle has them) and the folder of images are.
        classes: Attribute -> class -> the labels that belong to it: names of CelebA's attributes, or `not` and a name.
        images: Name of the folder of images.
        window: Left, top, right and bottom of the part of each image that is looked at, in pixels; null: all of it.
        **settings: Of `FaceDataModule`.
    """

    def __init__(
        self,
        folder: str,
        classes: Classes,
        images: str = "img_align_celeba",
        *,
        window: Window | None = SQUARE,
        **settings: Any,
    ) -> None:
        super().__init__(classes, window=window, **settings)
        self.folder, self.images = folder, images

    def read(self) -> list[LabelledFile]:
        """Reads and checks both lists."""
        root = Path(self.folder)
        with Problems("CelebA") as problems:
            attributes, partition = _list_path(root, ATTRIBUTES_NAME), _list_path(root, PARTITION_NAME)
            names, columns, rows = _read_attributes(attributes, problems)
            wanted = [class_of_label(labels) for labels in self.classes.values()]
            if columns:
                for attribute, labels in zip(self.classes, wanted, strict=True):
                    for label in labels:
                        if label.removeprefix(NOT) not in columns:
                            problems.add(
                                f"classes.{attribute} has {label!r}, which is none of CelebA's attributes "
                                f"({', '.join(columns)}), nor {NOT!r} and one: correct it"
                            )
            splits = _read_partition(partition, problems)
            if splits and (unsplit := [name for name in names if name not in splits]):
                problems.add(f"{partition}: lacks {_listed(unsplit)}: copy the list again")
            nested = root / self.images / Path(self.images).name
            paths = [(nested if nested.is_dir() else root / self.images) / name for name in names]
            note_missing_files(paths, attributes, problems)
        parts = [
            [(columns.index(label.removeprefix(NOT)), "-1" if label.startswith(NOT) else "1", index)
             for label, index in labels.items()]
            for labels in wanted
        ]  # fmt: skip
        return [
            LabelledFile(path, splits[name], tuple(_class_of(row, part) for part in parts))
            for path, name, row in zip(paths, names, rows, strict=True)
        ]


def _class_of(row: Sequence[str], labels: Sequence[tuple[int, str, int]]) -> int:
    """The only class of which a face has a label, or `UNLABELLED`; labels are (column, value, class)."""
    found = {index for column, value, index in labels if row[column] == value}
    return found.pop() if len(found) == 1 else UNLABELLED


def _list_path(root: Path, name: str) -> Path:
    """Path of a list: CelebA's own, or else Kaggle's, if that is there."""
    own, of_kaggle = root / f"{name}.txt", root / f"{name}.csv"
    return of_kaggle if of_kaggle.is_file() and not own.exists() else own


def _read_attributes(path: Path, problems: Problems) -> tuple[list[str], list[str], list[list[str]]]:
    """File names, attribute names, and each file's values; what is wrong is noted, and gives nothing."""
    if (lines := _lines(path, problems)) is None:
        return [], [], []
    beginning = " ".join(lines[0][:5]) if lines else ""
    if path.suffix == ".csv":
        if len(lines) < 2 or len(lines[0]) < 2 or lines[0][0] != _IMAGE_COLUMN:
            problems.add(f"{path}: begins with {beginning!r} instead of {_IMAGE_COLUMN} and attributes: copy it again")
            return [], [], []
        columns, rows = lines[0][1:], lines[1:]
    else:
        if len(lines) < 3 or len(lines[0]) != 1 or not lines[0][0].isdecimal():
            problems.add(f"{path}: begins with {beginning!r} instead of a count: copy it again")
            return [], [], []
        columns, rows = lines[1], lines[2:]
        if int(lines[0][0]) != len(rows):
            problems.add(f"{path}: promises {lines[0][0]} images and has {len(rows)}: copy it again")
    wrong = [row[0] for row in rows if len(row) != len(columns) + 1 or not {*row[1:]} <= {"-1", "1"}]
    if wrong:
        problems.add(f"{path}: rows of {_listed(wrong)} do not hold {len(columns)} values of -1 or 1: copy it again")
        return [], columns, []
    return [row[0] for row in rows], columns, [row[1:] for row in rows]


def _read_partition(path: Path, problems: Problems) -> dict[str, str]:
    """File name -> split."""
    lines = _lines(path, problems) or []
    if path.suffix == ".csv" and lines[:1] == [[_IMAGE_COLUMN, _PARTITION_COLUMN]]:
        lines = lines[1:]
    numbers = {str(number): split for number, split in enumerate(SPLITS)}
    wrong = Counter(" ".join(line) for line in lines if len(line) != 2 or line[1] not in numbers)
    if wrong:
        problems.add(f"{path}: {_listed(list(wrong))} should be a file name and 0, 1 or 2: copy it again")
        return {}
    return {name: numbers[number] for name, number in lines}


def _lines(path: Path, problems: Problems) -> list[list[str]] | None:
    """The words, or of a CSV file the cells, of every line that has any; None where the list cannot be read."""
    if not path.is_file():
        problems.add(
            f"folder is {str(path.parent)!r}, which has no {path.name}, nor {path.stem}.csv as Kaggle has it: give the "
            "folder of CelebA's lists"
        )
        return None
    if path.suffix == ".csv":
        return read_cells(path, problems)
    with problems.collecting():
        lines = read_text(path, "a list of CelebA", MAX_TABLE_BYTES).splitlines()
        return [line.split() for line in lines if line.strip()]
    return None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:LISTED])) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
