"""CelebA in its public layout (Liu et al., ICCV 2015): faces of celebrities with forty attributes, present or not.

A folder holds `list_attr_celeba.txt` (a count, a line of attribute names, then lines of a file name and -1 or 1 for
each attribute), `list_eval_partition.txt` (lines of a file name and 0, 1 or 2: train, val, test) and the images.

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
    SPLITS,
    UNLABELLED,
    FaceDataModule,
    LabelledFile,
    Window,
    note_missing_files,
)
from fairlit.errors import Problems
from fairlit.faces.class_merging import Classes, class_of_label

ATTRIBUTES_NAME, PARTITION_NAME = "list_attr_celeba.txt", "list_eval_partition.txt"
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
        folder: Where the two lists and the folder of images are.
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
            names, columns, rows = _read_attributes(root / ATTRIBUTES_NAME, problems)
            wanted = [class_of_label(labels) for labels in self.classes.values()]
            if columns:
                for attribute, labels in zip(self.classes, wanted, strict=True):
                    for label in labels:
                        if label.removeprefix(NOT) not in columns:
                            problems.add(
                                f"classes.{attribute} has {label!r}, which is none of CelebA's attributes "
                                f"({', '.join(columns)}), nor {NOT!r} and one: correct it"
                            )
            splits = _read_partition(root / PARTITION_NAME, problems)
            if splits and (unsplit := [name for name in names if name not in splits]):
                problems.add(f"{root / PARTITION_NAME}: lacks {_listed(unsplit)}: copy the list again")
            paths = [root / self.images / name for name in names]
            note_missing_files(paths, root / ATTRIBUTES_NAME, problems)
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


def _read_attributes(path: Path, problems: Problems) -> tuple[list[str], list[str], list[list[str]]]:
    """File names, attribute names, and each file's values; what is wrong is noted, and gives nothing."""
    if (lines := _lines(path, problems)) is None:
        return [], [], []
    if len(lines) < 3 or len(lines[0]) != 1 or not lines[0][0].isdigit():
        problems.add(
            f"{path}: begins with {' '.join(lines[0][:5]) if lines else ''!r} instead of a count: copy it again"
        )
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
    numbers = {str(number): split for number, split in enumerate(SPLITS)}
    wrong = Counter(" ".join(line) for line in lines if len(line) != 2 or line[1] not in numbers)
    if wrong:
        problems.add(f"{path}: {_listed(list(wrong))} should be a file name and 0, 1 or 2: copy it again")
        return {}
    return {name: numbers[number] for name, number in lines}


def _lines(path: Path, problems: Problems) -> list[list[str]] | None:
    """The words of every line that has any."""
    if not path.is_file():
        problems.add(f"folder is {str(path.parent)!r}, which has no {path.name}: give the folder of CelebA's lists")
        return None
    return [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:LISTED])) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
