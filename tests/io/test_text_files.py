from __future__ import annotations

import os
from pathlib import Path

import pytest

from fairlit.errors import ConfigurationError
from fairlit.io.text_files import read_text


def test_text_is_read_without_its_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfcaf\xc3\xa9\n")
    assert read_text(tmp_path / "a.txt", "text") == "caf\u00e9\n"


def test_what_is_not_a_text_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_text("x" * 2_000_001)
    for name, reason in (
        ("pipe", "it is not a file"),
        (".", "it is not a file"),
        ("bytes", "it is not text in UTF-8"),
        ("large", "it has more than 2 MB"),
        ("none", "No such file or directory"),
        ("bytes/inside", "Not a directory"),
        ("x" * 300, "File name too long"),
        ("a\0b", "it is not text in UTF-8"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            read_text(tmp_path / name, "a poem", 2_000_000)
        assert str(caught.value).startswith(f"{tmp_path / name}: cannot be read ({reason}); give a poem")
