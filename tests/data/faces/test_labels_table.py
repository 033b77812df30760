"""What is written as labels is read as labels."""

from __future__ import annotations

from pathlib import Path

import torch

from fairlit.data.faces.datamodule import UNLABELLED
from fairlit.data.faces.labelled_folders import read_labels
from fairlit.data.faces.labels_table import LabelsRow, write_labels
from fairlit.pictures.files import save_png


def test_labels_are_read_back(tmp_path: Path) -> None:
    """Labels may be anything that is text, and an attribute that nobody labelled has an empty cell."""
    classes = {"hat": ['a "cap", red', "=crown\n2"], "mood": ["calm", "cross"]}
    rows = [
        LabelsRow("0.png", {"hat": "=crown\n2", "mood": "cross"}),
        LabelsRow("1.png", {"hat": 'a "cap", red', "gaze": "left"}, split="train"),
    ]
    for row in rows:
        save_png(torch.zeros(3, 16, 16), tmp_path / row.file, {})
    write_labels(tmp_path, list(classes), rows)
    found = read_labels(tmp_path, classes)
    assert [(file.path.name, file.split, file.labels) for file in found] == [
        ("0.png", "val", (1, 1)),
        ("1.png", "train", (0, UNLABELLED)),
    ]
