from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fairlit.pictures.files import UnreadableImageError, read_image, read_parameters, read_profile, save_png


def test_pixels_and_parameters_come_back(tmp_path: Path) -> None:
    image = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(0)) * 1.4 - 0.2
    parameters = {"prompt": "ein Bäcker <script>\n", "noise_key": [0, 2**40], "version": "1"}
    save_png(image, tmp_path / "folder" / "image.png", parameters)
    assert torch.equal(read_image(tmp_path / "folder" / "image.png"), (image.clamp(0, 1) * 255).round().byte())
    assert read_parameters(tmp_path / "folder" / "image.png") == parameters
    with Image.open(tmp_path / "folder" / "image.png") as opened:
        assert opened.info["Description"] == parameters["prompt"]
        assert opened.info["Software"] == "fairlit 1"


def test_other_files_have_no_parameters(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "plain.png")
    (tmp_path / "text.png").write_text("hello")
    assert [read_parameters(tmp_path / name) for name in ("plain.png", "text.png", "none.png")] == [None] * 3


def test_grey_palette_and_transparent_pictures_become_rgb_over_white(tmp_path: Path) -> None:
    Image.new("L", (2, 1), 100).save(tmp_path / "grey.png")
    Image.new("RGBA", (2, 1), (200, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("RGB", (2, 1), (1, 2, 3)).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png")
    assert read_image(tmp_path / "grey.png").unique().tolist() == [100]
    assert read_image(tmp_path / "clear.png").unique().tolist() == [255]
    assert read_image(tmp_path / "palette.png")[:, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bit_greys_keep_their_shades(tmp_path: Path, ending: str) -> None:
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(grey * 257).save(tmp_path / f"grey.{ending}")  # 65535 = 255 * 257
    assert torch.equal(read_image(tmp_path / f"grey.{ending}"), torch.arange(256).view(1, 16, 16).expand(3, -1, -1))


@pytest.mark.parametrize("number", [np.int32, np.float32])
def test_numbers_of_32_bits_are_read_from_0_to_255_alone(tmp_path: Path, number: type[np.number]) -> None:
    grey = np.arange(256).reshape(16, 16).astype(number)
    Image.fromarray(grey).save(tmp_path / "grey.tif")
    assert torch.equal(read_image(tmp_path / "grey.tif"), torch.arange(256).view(1, 16, 16).expand(3, -1, -1))
    shares, nothing = (grey / 255).astype(np.float32), np.full((2, 2), np.nan, np.float32)
    for wrong in (grey * 257, grey - 1, shares, nothing):
        Image.fromarray(wrong).save(tmp_path / "wrong.tif")
        with pytest.raises(UnreadableImageError, match="instead of 0 to 255"):
            read_image(tmp_path / "wrong.tif")


def test_pictures_are_turned_upright(tmp_path: Path) -> None:
    orientation = Image.Exif()
    orientation[0x0112] = 6  # the camera was held so that the first row is the right side
    Image.fromarray(np.array([[[1] * 3, [2] * 3]], np.uint8)).save(tmp_path / "turned.png", exif=orientation)
    assert read_image(tmp_path / "turned.png")[0].tolist() == [[1], [2]]


def test_of_an_animation_the_first_frame_is_read(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    first.save(tmp_path / "moving.gif", save_all=True, append_images=[second])
    assert read_image(tmp_path / "moving.gif")[:, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("ending", ["avif", "gif", "jpg", "png", "tif", "webp"])
def test_damage_anywhere_is_one_error(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"picture.{ending}"
    Image.new("RGB", (8, 8), "red").save(path)
    whole, refused = path.read_bytes(), 0
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        read_parameters(path)
        read_profile(path)
        try:
            read_image(path)
        except UnreadableImageError:
            refused += 1
    assert refused


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    save_png(torch.rand(3, 32, 32), whole, {})
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:-900])
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    Image.new("1", (9500, 9500)).save(tmp_path / "bomb.png")  # 90 megapixels in 11 KB
    for name, reason in {
        "cut.png": "damaged",
        "text.png": "not an image",
        "empty.png": "not an image",
        "none.png": "missing",
        "folder.png": "no regular file",
        "pipe.png": "no regular file",
        "bomb.png": "too large",
    }.items():
        with pytest.raises(UnreadableImageError, match=reason):
            read_image(tmp_path / name)
