from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fairlit.errors import CheckpointError
from fairlit.io.torch_archives import read_archive

CONTENT = {"w": torch.arange(500.0)}


def flip(path: Path, part: bytes) -> None:
    """Change one bit where `part` lies in a file."""
    content = bytearray(path.read_bytes())
    content[content.index(part)] ^= 1
    path.write_bytes(content)


def test_what_was_saved_is_read_in_both_layouts(tmp_path: Path) -> None:
    for name, layout in (("new.pth", True), ("old.pth", False)):
        torch.save(CONTENT, tmp_path / name, _use_new_zipfile_serialization=layout)
        torch.testing.assert_close(read_archive(tmp_path / name), CONTENT)


def test_a_changed_bit_is_named_with_its_entry(tmp_path: Path) -> None:
    torch.save(CONTENT, tmp_path / "a.pth")
    flip(tmp_path / "a.pth", CONTENT["w"][10:].numpy().tobytes())
    assert not torch.equal(torch.load(tmp_path / "a.pth", weights_only=True)["w"], CONTENT["w"])  # torch is content
    with pytest.raises(CheckpointError, match=r"^wrong checksum of a/data/0$"):
        read_archive(tmp_path / "a.pth")


def test_archives_without_checksums_are_read(tmp_path: Path) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(CONTENT, tmp_path / "a.pth")
    finally:
        torch.serialization.set_crc32_options(before)
    torch.testing.assert_close(read_archive(tmp_path / "a.pth"), CONTENT)


def test_cut_files_and_missing_ones_give_a_reason(tmp_path: Path) -> None:
    torch.save(CONTENT, tmp_path / "a.pth")
    whole = (tmp_path / "a.pth").read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "a.pth").write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            read_archive(tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="No such file"):
        read_archive(tmp_path / "none.pth")
