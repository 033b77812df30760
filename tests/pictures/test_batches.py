from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from fairlit.pictures import batches
from fairlit.pictures.batches import images_at_once, read_batches


def save(folder: Path, name: str, width: int, height: int) -> str:
    Image.new("RGB", (width, height), (len(name), 2, 3)).save(folder / name)
    return name


def test_generated_images_keep_their_batches_and_photographs_share_a_bounded_number_of_pixels() -> None:
    assert images_at_once(512 * 512, 16) == images_at_once(1024 * 1024, 16) == 16
    photograph = 4000 * 3000
    assert images_at_once(photograph, 16) * photograph <= batches.MAX_BATCH_PIXELS
    assert images_at_once(20 * photograph, 16) == 1  # one goes through, whatever its size


def test_a_batch_ends_with_its_number_another_size_or_too_many_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MAX_BATCH_PIXELS", 8 * 8 * 2)
    small = [save(tmp_path, f"small_{n}.png", 4, 4) for n in range(4)]
    large = [save(tmp_path, f"large_{n}.png", 8, 8) for n in range(3)]
    giant = save(tmp_path, "giant.png", 64, 64)
    found = list(read_batches(tmp_path, [*small, *large, giant], batch_size=3))
    assert [batch.files for batch in found] == [small[:3], small[3:], large[:2], large[2:], [giant]]
    mixed = list(read_batches(tmp_path, [*small[:2], large[0], *small[2:]], batch_size=4, mixed=True))
    assert [batch.files for batch in mixed] == [[*small[:2], large[0], small[2]], small[3:]]
    assert torch.equal(found[0].pictures[0][:, 0, 0], torch.tensor([len(small[0]), 2, 3], dtype=torch.uint8))


def test_what_cannot_be_read_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    files = ["text.png", save(tmp_path, "a.png", 4, 4), "missing.png"]
    [batch] = read_batches(tmp_path, files, batch_size=3)
    assert batch.files == ["a.png"]
    assert batch.refused == {"text.png": "not an image", "missing.png": "missing"}
    [nothing] = read_batches(tmp_path, ["missing.png"], batch_size=3)
    assert nothing.files == []
    assert nothing.refused == {"missing.png": "missing"}
