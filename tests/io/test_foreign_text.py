from __future__ import annotations

import csv
import io
import os

import pytest

from fairlit.io.foreign_text import cell, file_stem, is_sound, parsed, printable


def test_names_of_files_that_are_not_utf8_can_be_written_once_they_are_printable() -> None:
    name = os.fsdecode(b"caf\xe9.png")
    assert not is_sound(name)
    printable(name).encode()
    assert printable("café 日本.png") == "café 日本.png"
    assert "\0" not in printable("a\0b")


@pytest.mark.parametrize("text", ["", '{"a": 1', "[" * 200_000, "\ufffd", "9" * 5000, b"\xff\xfe\n"])
def test_json_that_cannot_be_read_is_none(text: str | bytes) -> None:
    assert parsed(text) is None


def test_lone_surrogates_are_replaced_and_pairs_stay() -> None:
    assert parsed(r'{"\ud800": ["a \udfff b", "\ud83d\ude00", null]}') == {"\ufffd": ["a \ufffd b", "😀", None]}


def test_files_of_attributes_stay_in_their_folder_and_do_not_meet() -> None:
    names = [
        "gender",
        "hair_color",
        "âge",
        "../../x",
        "/etc/x",
        "..",
        "",
        "a/b",
        "a_b",
        "a b",
        "a\0",
        "x" * 500,
        "CON.",
    ]
    stems = [file_stem(name) for name in names]
    assert stems[:3] == names[:3]
    assert len(set(stems)) == len(stems)
    assert all(stem and not set(stem) & set('/\\\0.<>"') and len(stem) < 80 for stem in stems)


def test_cells_that_a_spreadsheet_would_run_are_text() -> None:
    stream = io.StringIO()
    texts = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "a = b", ""]
    csv.writer(stream).writerow(map(cell, [*texts, -0.5, 3]))
    (row,) = csv.reader(io.StringIO(stream.getvalue(), newline=""))
    assert row == [*(f"'{text}" for text in texts[:6]), "a = b", "", "-0.5", "3"]
