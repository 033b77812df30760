from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from drawn_faces import AGES, COLUMNS, draw_face, write_fairface

from fairlit.data import FairFace
from fairlit.errors import ConfigurationError

CLASSES: dict[str, Any] = {
    "gender": {"female": ["Female"], "male": ["Male"]},
    "age": {name: [*AGES[name]] for name in AGES},
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fairface(tmp_path_factory.mktemp("fairface"), 18, 9)


@pytest.fixture
def folder(shared: Path) -> Iterator[Path]:
    """For tests that change the tables."""
    kept = {path: path.read_bytes() for path in shared.glob("*.csv")}
    yield shared
    for path, content in kept.items():
        path.write_bytes(content)


def change(folder: Path, row: int, **cells: str) -> None:
    path = folder / "fairface_label_train.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[row] |= cells
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def test_merged_labels_are_those_of_the_drawings(shared: Path) -> None:
    data = FairFace(str(shared), CLASSES, image_size=32)
    files = data.read()
    assert [file.split for file in files].count("train") == 18
    assert [file.split for file in files].count("val") == [file.split for file in files].count("test") == 9
    for file, number in zip([file for file in files if file.split == "train"], range(18), strict=True):
        person = draw_face(number)[1]
        assert file.path == shared / "train" / f"{number + 1}.png"
        assert file.labels == (["female", "male"].index(person["gender"]), ["young", "old"].index(person["age"]))
    data.setup("fit")
    assert sum(data.class_counts("train")["age"].values()) == 18
    faces, labels = next(iter(data.val_dataloader()))
    assert faces.shape == (9, 3, 32, 32)
    assert labels.shape == (9, 2)


def test_one_attribute_as_it_is_labelled(shared: Path) -> None:
    data = FairFace(str(shared), {"gender": ["Male", "Female"]})
    files = data.read()
    assert data.class_names == {"gender": ("Male", "Female")}
    assert {len(file.labels) for file in files} == {1}


def test_all_problems_of_both_tables_come_together(folder: Path) -> None:
    change(folder, 0, age="80+", file="train/none.png")
    change(folder, 3, age="80+", gender="unknown")
    (folder / "fairface_label_val.csv").write_text("file,gender\nval/1.png,Male\n")
    with pytest.raises(ConfigurationError) as caught:
        FairFace(str(folder), CLASSES).read()
    message = str(caught.value)
    for part in (
        "4 problems",
        "'age' is '80+' in 2 rows, which classes.age leaves out",
        "'gender' is 'unknown' in 1 rows",
        "1 of 18 files do not exist",
        "train/none.png",
        "fairface_label_val.csv: column 'age' is missing",
    ):
        assert part in message


def test_a_merge_that_leaves_a_label_out_is_refused(shared: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"'age' is 'more than 70' in \d rows, which classes\.age leaves out"):
        FairFace(str(shared), {"age": {"young": [*AGES["young"]], "old": [*AGES["old"][:-1]]}}).read()
    with pytest.raises(ConfigurationError, match="'0-2' in 'young' and in 'old'"):
        FairFace(str(shared), {"age": {"young": [*AGES["young"]], "old": [*AGES["old"], "0-2"]}})


def test_folders_without_tables_and_classes_without_images(shared: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        FairFace(str(tmp_path), CLASSES).read()
    for name in ("fairface_label_train.csv", "fairface_label_val.csv"):
        assert name in str(caught.value)
    more = {**CLASSES["age"], "ancient": ["over 100"]}
    with pytest.raises(ConfigurationError, match="no training image has age 'ancient'"):
        FairFace(str(shared), {"age": more}).setup("fit")
