"""A whole audit of a folder and a classifier whose names are those of somebody who means no good."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from coloured_folders import BLUE, GREEN, HOSTILE, RED, write_images

from fairlit.cli import main
from fairlit.results.audit import AuditResults

PROMPTS = ['=HYPERLINK("http://evil.example","open")', "a <b>chef</b>\x1b[31m [/bold] $x^$ {% raw %}"]
FILES = ["=1+1.png", "<img src=y>\n.png", "[red]\x1b[2J.png", "-1.png"]


class _Page(HTMLParser):
    """Tags of a page, and their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number, prompt in enumerate(PROMPTS):
        folder = tmp_path / "images" / f"@{number}"
        write_images(folder, [RED, BLUE, RED, GREEN])
        for place, name in enumerate(FILES):
            (folder / f"img_{place}.png").rename(folder / name)
        (folder / "prompt.txt").write_text(prompt)
    (tmp_path / "images" / "@0" / "cut\n<u>.png").write_bytes(b"no image")
    return tmp_path / "images"


@pytest.mark.filterwarnings("error")
def test_names_stay_names_in_all_that_an_audit_writes(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = {attribute: dict.fromkeys(names, 0.5) for attribute, names in HOSTILE.items()}
    before = set(tmp_path.rglob("*"))
    command = ["audit", str(images), "--target", json.dumps(target), "--out", str(tmp_path / "out"), "--device", "cpu"]
    main([*command, "--classifier", "coloured_folders.HostileTint", "--detector", "coloured_folders.AllButGreen"])

    told = capsys.readouterr().out
    assert all(letter.isprintable() or letter == "\n" for letter in told)
    assert "../../tint\\x1b[2J\\n<script>: On average" in told

    written = set(tmp_path.rglob("*")) - before
    assert written
    assert all(path.is_relative_to(tmp_path / "out") for path in written)
    charts = [path.name for path in (tmp_path / "out" / "figures").iterdir()]
    assert len(charts) == 2 * 4  # shares, one of each attribute, joint: as PNG and SVG
    assert all(re.fullmatch(r"[\w-]+\.(png|svg)", name) for name in charts)

    with (tmp_path / "out" / "per_image.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert len(rows) == 1 + 2 * 4 + 1
    numbers = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")
    assert all(numbers.fullmatch(cell) for row in rows for cell in row if cell[:1] in tuple("=+-@\t\r"))
    assert {f"'{PROMPTS[0]}", PROMPTS[1]} == {row[2] for row in rows[1:]}

    results = AuditResults.read(tmp_path / "out")
    assert {name: tuple(block.target) for name, block in results.figures.attributes.items()} == HOSTILE
    assert {entry.file for entry in results.audited.not_counted} == {"@0/cut\n<u>.png"}

    text = (tmp_path / "out" / "report.html").read_text()
    page = _Page()
    page.feed(text)
    assert not {"script", "b>chef", "u", "a", "iframe"} & set(page.tags)
    assert page.tags.count("b") == text.count("<b>")
    assert all((value or "").startswith("data:") for name, value in page.attributes if name == "src")
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "{{ 7 * 7 }}" in text
    assert "a &lt;b&gt;chef&lt;/b&gt;" in text
    assert "&lt;script&gt;" in text
