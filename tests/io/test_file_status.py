from __future__ import annotations

import os
from pathlib import Path

from fairlit.io.file_status import file_mark, regular_files, why_not_regular


def test_regular_files_are_told_from_everything_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("four")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    assert regular_files(tmp_path) == {"file", "link"}
    assert regular_files(tmp_path / "nothing") == set()
    reasons = {name: why_not_regular(tmp_path / name) for name in ("file", "link", "nothing", "folder", "pipe", "gone")}
    assert list(reasons.values()) == [None, None, None, *["no regular file"] * 2, "a link that leads nowhere"]
    assert "cannot be opened" in (why_not_regular(tmp_path / "loop") or "")


def test_marks_change_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert file_mark(path) == (str(path), 0, 0)
    path.write_text("four")
    before = file_mark(path)
    assert before[1] == 4
    path.write_text("three")
    assert file_mark(path) != before
