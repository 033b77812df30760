from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fairlit.pictures.files import UnreadableImageError, read_image, read_parameters, save_png


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


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    save_png(torch.rand(3, 32, 32), whole, {})
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:-900])
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    for name, reason in {
        "cut.png": "damaged",
        "text.png": "not an image",
        "empty.png": "not an image",
        "none.png": "missing",
        "folder.png": "damaged",
    }.items():
        with pytest.raises(UnreadableImageError, match=reason):
            read_image(tmp_path / name)
