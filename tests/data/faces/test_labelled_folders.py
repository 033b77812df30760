from __future__ import annotations

import csv
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from fairlit.data.faces.augmentation import FaceAugmentation
from fairlit.data.faces.datamodule import UNLABELLED, LabelledFacesDataset
from fairlit.data.faces.labelled_folders import LabelledFaces, read_labels
from fairlit.errors import ConfigurationError
from fairlit.pictures.files import read_image

CLASSES = {"hat": ["none", "cap", "crown"], "mood": ["calm", "cross"]}
ROWS = [
    ("a.png", "train", "cap", "calm"),
    ("sub/b.png", "train", "crown", "cross"),
    ("c.png", "val", "none", ""),
    ("d.png", "test", "cap", "cross"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    generator = np.random.default_rng(0)
    for name, *_ in ROWS:
        Image.fromarray(generator.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(tmp_path / name)
    write(tmp_path, ROWS)
    return tmp_path


def write(
    folder: Path, rows: list[tuple[str, ...]], header: tuple[str, ...] = ("file", "split", "hat", "mood")
) -> None:
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def test_labels_are_class_indices_in_the_order_given(folder: Path) -> None:
    files = read_labels(folder, CLASSES)
    assert [file.labels for file in files] == [(1, 0), (2, 1), (0, UNLABELLED), (1, 1)]
    assert [file.split for file in files] == ["train", "train", "val", "test"]
    assert files[1].path == folder / "sub/b.png"
    swapped = {"mood": ["cross", "calm"]}
    assert [file.labels for file in read_labels(folder, swapped)] == [(1,), (0,), (UNLABELLED,), (0,)]


def test_all_problems_are_reported_together(folder: Path) -> None:
    write(folder, [*ROWS, ("gone.png", "train", "fez", "calm"), ("a.png", "held-out", "cap", "bored")])
    with pytest.raises(ConfigurationError) as caught:
        read_labels(folder, CLASSES)
    for part in ("gone.png", "'fez'", "'held-out'", "'bored'", "4 problems"):
        assert part in str(caught.value)


def test_missing_columns_rows_and_file_are_reported(folder: Path, tmp_path: Path) -> None:
    write(folder, [], header=("file", "hat"))
    with pytest.raises(ConfigurationError) as caught:
        read_labels(folder, CLASSES)
    for part in ("'split'", "'mood'", "no row"):
        assert part in str(caught.value)
    with pytest.raises(ConfigurationError, match=r"labels\.csv"):
        read_labels(tmp_path / "nothing", CLASSES)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"file,split,hat,mood\na.png,train,c\xe4p,calm\n", "labels.csv: cannot be read (it is not text in UTF-8)"),
        (
            b"file,split,hat,mood\n" + b"a" * 200_000,
            "labels.csv: cannot be read (field larger than field limit",
        ),
        (b"file,split,hat,mood\na\0/b.png,train,cap,calm\n", "1 of 1 files do not exist"),
        (b"file,split,hat,mood\na.png,train,cap,calm,more\n\nd.png,val", None),
    ],
)
def test_damaged_tables_are_refused_by_name(folder: Path, content: bytes, part: str | None) -> None:
    (folder / "labels.csv").write_bytes(content)
    if part is None:  # what is too much counts as little as what is missing
        assert [file.labels for file in read_labels(folder, CLASSES)] == [(1, 0), (UNLABELLED, UNLABELLED)]
        return
    with pytest.raises(ConfigurationError) as caught:
        read_labels(folder, CLASSES)
    assert part in str(caught.value)
    assert "problems" not in str(caught.value)


@pytest.mark.parametrize("cache", [False, True])
def test_dataset_gives_the_pixels_of_the_files(folder: Path, cache: bool) -> None:
    dataset = LabelledFacesDataset(read_labels(folder, CLASSES), 20, cache)
    for _ in range(2):
        image, labels = dataset[1]
        with Image.open(folder / "sub/b.png") as opened:
            assert np.array_equal(image.permute(1, 2, 0).numpy(), np.array(opened))
        assert labels.tolist() == [2, 1]
    assert len(dataset) == 4
    assert LabelledFacesDataset(dataset.files, 32)[0][0].shape == (3, 32, 32)


def test_pictures_are_read_as_the_audit_reads_them(folder: Path) -> None:
    orientation = Image.Exif()
    orientation[0x0112] = 6
    shades = np.arange(400).reshape(20, 20)
    colours = np.stack([shades % 256, shades // 2, shades % 7 * 30], axis=-1).astype(np.uint8)
    veil = np.dstack([colours, shades % 256]).astype(np.uint8)
    Image.fromarray(colours).save(folder / "a.png", exif=orientation)
    Image.fromarray(veil).save(folder / "sub/b.png")
    Image.fromarray((shades * 163).astype(np.uint16)).save(folder / "c.png")
    (folder / "d.png").write_bytes((folder / "a.png").read_bytes()[:-60])
    dataset = LabelledFacesDataset(read_labels(folder, CLASSES), 20)
    for index, (name, *_) in enumerate(ROWS[:3]):
        assert torch.equal(dataset[index][0], read_image(folder / name)), name
    over_white = colours[3, 3] * (veil[3, 3, 3] / 255) + 255 - veil[3, 3, 3]
    assert dataset[0][0][:, 0, 19].tolist() == colours[0, 0].tolist()
    assert np.abs(dataset[1][0][:, 3, 3].numpy() - over_white).max() <= 1
    assert dataset[2][0][0, 10].tolist() == (shades[10] * 163 / 257).round().tolist()
    with pytest.raises(ConfigurationError, match=r"d\.png: got a file that cannot be read \(damaged"):
        dataset[3]


def test_pipes_are_named_before_anybody_waits_for_them(folder: Path) -> None:
    (folder / "a.png").unlink()
    os.mkfifo(folder / "a.png")
    (folder / "real.bin").write_bytes((folder / "c.png").read_bytes())
    (folder / "c.png").unlink()
    (folder / "c.png").symlink_to("real.bin")
    with pytest.raises(ConfigurationError, match=r"1 of 4 files do not exist, or are not regular files .*a\.png"):
        read_labels(folder, CLASSES)


def test_damaged_image_is_named(folder: Path) -> None:
    (folder / "a.png").write_bytes(b"not a picture")
    with pytest.raises(ConfigurationError, match=r"a\.png"):
        LabelledFacesDataset(read_labels(folder, CLASSES), 20)[0]


def test_batches_are_in_range_and_changed_in_training_only(folder: Path) -> None:
    write(folder, [*ROWS, ("d.png", "train", "none", "calm")])
    data = LabelledFaces(str(folder), CLASSES, image_size=20, batch_size=2)
    data.setup("fit")
    batch = next(iter(data.val_dataloader()))
    data.trainer = SimpleNamespace(training=False)  # type: ignore[assignment]
    faces, labels = data.on_after_batch_transfer(batch, 0)
    assert torch.equal(faces, batch[0] / 255)
    assert labels.tolist() == [[0, UNLABELLED]]
    data.trainer = SimpleNamespace(training=True)  # type: ignore[assignment]
    changed, _ = data.on_after_batch_transfer(batch, 0)
    assert changed.shape == faces.shape
    assert not torch.equal(changed, faces)
    assert len(data.train_dataloader()) == 1


def test_a_split_that_is_needed_but_empty_is_refused(folder: Path) -> None:
    write(folder, ROWS[:2])
    data = LabelledFaces(str(folder), CLASSES, image_size=20)
    with pytest.raises(ConfigurationError, match="'val', which fit needs"):
        data.setup("fit")


def test_bad_arguments_are_all_named(folder: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        LabelledFaces(str(folder), CLASSES, image_size=4, batch_size=0, augmentation=-1.0, num_workers=-1)
    for name in ("image_size", "batch_size", "augmentation", "num_workers"):
        assert name in str(caught.value)


def test_augmentation_keeps_shape_and_range_and_most_of_the_picture() -> None:
    torch.manual_seed(0)
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 24), torch.linspace(0, 1, 24), indexing="ij")
    faces = torch.stack([rows, rows, 0.5 + 0.0 * columns]).repeat(16, 1, 1, 1)
    changed = FaceAugmentation(1.0, group=1)(faces)
    assert changed.shape == faces.shape
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 1
    assert 0.01 < float((changed - faces).abs().mean()) < 0.15
    assert not torch.equal(changed[0], changed[1])
    assert torch.equal(FaceAugmentation(0.0)(faces), faces)
    assert FaceAugmentation()(faces[:0]).shape == (0, 3, 24, 24)
