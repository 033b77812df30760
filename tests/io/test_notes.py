from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fairlit.io.notes import note_line, read_notes

CONTENT: dict[str, Any] = {"b": [0.1, None, True], "a": "Bäcker\u2028<script>", "digits": {"1": 1e-9}}


def test_what_is_noted_comes_back(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text(note_line(CONTENT) + note_line({}), encoding="utf-8")
    assert read_notes(tmp_path / "notes") == [CONTENT, {}]
    assert read_notes(tmp_path / "none") == []


@pytest.mark.parametrize(
    "damaged",
    [b"\xff\xfe", b'"x"', b"[1]", b"{}", b'{"digest": 3}', b"", b"[" * 100_000, b"\0" * 40, b'{"b": NaN', b'{"b": 1}'],
)
def test_damaged_lines_are_not_believed(tmp_path: Path, damaged: bytes) -> None:
    line = note_line(CONTENT).encode()
    (tmp_path / "notes").write_bytes(damaged + b"\n" + line)
    assert read_notes(tmp_path / "notes") == [None, CONTENT]


def test_any_changed_byte_is_seen(tmp_path: Path) -> None:
    line = note_line({"probabilities": [0.25, 0.75], "name": "gender"}).encode().rstrip()
    for place in range(len(line)):
        changed = bytes([*line[:place], line[place] ^ 1, *line[place + 1 :]])
        (tmp_path / "notes").write_bytes(changed)
        assert all(found is None for found in read_notes(tmp_path / "notes")), changed


def test_lines_of_earlier_versions_count_where_they_may(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text('{"a": 1}\n{"a": 1, "digest": "0"}\n')
    assert read_notes(tmp_path / "notes", without_digest=True) == [{"a": 1}, None]
