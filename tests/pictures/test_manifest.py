from __future__ import annotations

from pathlib import Path

import pytest

from fairlit.errors import ConfigurationError
from fairlit.pictures.manifest import MANIFEST, folder_name, read_manifest, write_manifest
from fairlit.results.manifest import ManifestEntry


def test_folder_names_are_short_and_safe() -> None:
    assert folder_name(12, "Ein Foto: ../../etc/passwd  ü!") == "012_ein_foto_etc_passwd"
    assert folder_name(3, "<script>alert(1)</script>") == "003_script_alert_1_script"
    assert folder_name(0, "医者") == "000"
    assert len(folder_name(0, "word " * 100)) <= 64


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    entries = [
        ManifestEntry(file="a/0.png", prompt="ein Bäcker\u2028 </script>", further={"steps": 12, "face": None}),
        ManifestEntry(file="b", prompt="", number=3, family="sports", noise_key=(0, 2, 1), num_people=2),
    ]
    write_manifest(tmp_path, entries)
    assert read_manifest(tmp_path) == (entries, [])


def test_damaged_lines_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    lines = [
        '{"file": "a", "prompt": "p"}',
        "",
        '{"file": "b"}',
        "[1]",
        '{"file": "c", "prompt": "q"}',
        '{"file": "d", "pro',
    ]
    (tmp_path / MANIFEST).write_text("\n".join(lines))
    entries, damaged = read_manifest(tmp_path)
    assert [entry.file for entry in entries] == ["a", "c"]
    assert damaged == [3, 4, 6]


def test_a_line_of_a_newer_version_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text('{"file": "a", "prompt": "p"}\n{"schema": 9, "file": "b", "prompt": "p"}\n')
    with pytest.raises(ConfigurationError, match=r"manifest.jsonl, line 2: schema: got 9; expected 1 at most; update"):
        read_manifest(tmp_path)
