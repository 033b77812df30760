from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn_faces import draw_face, write_celeba
from PIL import Image

from fairlit.data import CelebA
from fairlit.data.faces.datamodule import UNLABELLED
from fairlit.errors import ConfigurationError

CLASSES: dict[str, Any] = {
    "gender": {"female": ["not Male"], "male": ["Male"]},
    "hair": {"black": ["Black_Hair"], "blond": ["Blond_Hair"]},
    "age": {"young": ["Young"], "old": ["not Young"]},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_celeba(tmp_path / "celeba", 10)


def test_labels_and_splits_are_those_of_the_lists(folder: Path) -> None:
    files = CelebA(str(folder), CLASSES).read()
    assert [file.split for file in files] == ["train", "train", "train", "val", "test"] * 2
    for number, file in enumerate(files):
        person = draw_face(number, size=178)[1]
        assert file.path == folder / "img_align_celeba" / f"{number + 1:06d}.png"
        hair = 1 if number % 4 == 1 else UNLABELLED  # both, blond alone, neither, neither
        assert file.labels == (["female", "male"].index(person["gender"]), hair, ["young", "old"].index(person["age"]))


def test_kaggles_lists_say_the_same(folder: Path) -> None:
    expected = CelebA(str(folder), CLASSES).read()
    _, columns, *rows = (folder / "list_attr_celeba.txt").read_text().splitlines()
    partition = (folder / "list_eval_partition.txt").read_text().splitlines()
    for name, header, lines in (
        ("list_attr_celeba", f"image_id {columns}", rows),
        ("list_eval_partition", "image_id partition", partition),
    ):
        (folder / f"{name}.csv").write_text("\r\n".join(",".join(line.split()) for line in [header, *lines]))
    assert CelebA(str(folder), CLASSES).read() == expected  # CelebA's own lists come first
    for name in ("list_attr_celeba", "list_eval_partition"):
        (folder / f"{name}.txt").unlink()
    assert CelebA(str(folder), CLASSES).read() == expected
    (folder / "img_align_celeba").rename(folder / "unpacked")
    (folder / "img_align_celeba").mkdir()
    (folder / "unpacked").rename(folder / "img_align_celeba" / "img_align_celeba")
    found = CelebA(str(folder), CLASSES).read()
    assert [file.path.relative_to(folder / "img_align_celeba" / "img_align_celeba").name for file in found] == [
        file.path.name for file in expected
    ]
    assert [(file.split, file.labels) for file in found] == [(file.split, file.labels) for file in expected]


def test_the_window_is_cut_out(folder: Path) -> None:
    data = CelebA(str(folder), {"age": CLASSES["age"]}, image_size=178)
    data.setup("validate")
    faces, _ = next(iter(data.val_dataloader()))
    assert torch.equal(faces[0], draw_face(3, size=178)[0])
    whole = CelebA(str(folder), {"age": CLASSES["age"]}, image_size=178, window=None)
    whole.setup("validate")
    picture = Image.open(folder / "img_align_celeba" / "000004.png").resize((178, 178), Image.Resampling.BICUBIC)
    faces, _ = next(iter(whole.val_dataloader()))
    assert np.array_equal(faces[0].permute(1, 2, 0).numpy(), np.array(picture))


def test_a_window_beyond_the_picture_is_refused(folder: Path) -> None:
    data = CelebA(str(folder), {"age": CLASSES["age"]}, window=(0, 0, 200, 200))
    data.setup("validate")
    with pytest.raises(ConfigurationError, match=r"beyond .* 178 x 218"):
        next(iter(data.val_dataloader()))
    with pytest.raises(ConfigurationError, match="window"):
        CelebA(str(folder), {"age": CLASSES["age"]}, window=(5, 0, 5, 10))


def test_all_problems_come_together(folder: Path) -> None:
    (folder / "img_align_celeba" / "000003.png").unlink()
    partition = (folder / "list_eval_partition.txt").read_text().splitlines()
    (folder / "list_eval_partition.txt").write_text("\n".join(partition[:-1]))
    attributes = (folder / "list_attr_celeba.txt").read_text().replace("10\n", "12\n", 1)
    (folder / "list_attr_celeba.txt").write_text(attributes)
    with pytest.raises(ConfigurationError) as caught:
        CelebA(str(folder), {"age": {"young": ["Young"], "old": ["Old"]}}).read()
    message = str(caught.value)
    for part in (
        "4 problems",
        "promises 12 images and has 10",
        "'Old', which is none of CelebA's attributes (Black_Hair, Blond_Hair, Male, Young)",
        "lacks '000010.png'",
        "1 of 10 files do not exist",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("list_attr_celeba.txt", "file Male\n1.png 1\n2.png 1\n", "instead of a count"),
        ("list_attr_celeba.txt", "2\nMale\n1.png 1\n2.png 0\n", "rows of '2.png' do not hold 1 values"),
        ("list_attr_celeba.txt", "2\nMale\n1.png 1\n2.png 1 1\n", "rows of '2.png' do not hold 1 values"),
        ("list_eval_partition.txt", "1.png 3\n", "'1.png 3' should be a file name and 0, 1 or 2"),
        ("list_eval_partition.txt", None, "has no list_eval_partition.txt, nor list_eval_partition.csv"),
        ("list_attr_celeba.txt", "2\nM\xe4le\n", "list_attr_celeba.txt: cannot be read (it is not text in UTF-8)"),
        ("list_attr_celeba.csv", "Male,Young\n1,1\n", "'Male Young' instead of image_id and attributes"),
        ("list_attr_celeba.csv", "image_id,Male\n1.png,1\n2.png,0\n", "rows of '2.png' do not hold 1 values"),
        ("list_attr_celeba.csv", "image_id,Male\n1.png,1\n2.png\n", "rows of '2.png' do not hold 1 values"),
        ("list_eval_partition.csv", "1.png,0\n2.png,3\n", "'2.png 3' should be a file name and 0, 1 or 2"),
    ],
)
def test_damaged_lists_are_refused(folder: Path, name: str, content: str | None, part: str) -> None:
    (folder / name).with_suffix(".txt").unlink()
    if content is not None:
        (folder / name).write_text(content, encoding="latin-1")
    with pytest.raises(ConfigurationError) as caught:
        CelebA(str(folder), {"gender": CLASSES["gender"]}).read()
    assert part in str(caught.value)
