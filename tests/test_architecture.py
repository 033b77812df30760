"""The pages of the docs say how the code is: layers, modules and names exist, and links lead somewhere."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import pytest
from documents import ROOT, pages

from fairlit.faces.detection import FaceDetection
from fairlit.results.figures import OUTCOMES, Outcome

ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")


def rows(text: str) -> list[list[str]]:
    """Cells of all rows of tables, headings left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line, following in zip(lines, [*lines[1:], ""], strict=True)
        if not line.startswith("|--") and not following.startswith("|--")
    ]


def code(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_the_layers_of_the_page_are_those_that_are_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    section = ARCHITECTURE.split("\n## ")[1]
    named = [[f"fairlit.{name}" for name in code(row[0])] for row in rows(section)]
    assert named == [layer.split(" | ") for layer in layers]


def test_modules_that_the_page_names_exist() -> None:
    modules = [name for name in code(ARCHITECTURE) if re.fullmatch(r"fairlit(\.[a-z_]+)+", name)]
    assert len(modules) > 20
    missing = [name for name in modules if name != "fairlit.audit" and find_spec(name) is None]
    assert missing == []


def test_names_of_the_glossary_are_those_of_the_code() -> None:
    terms = {name for row in rows(GLOSSARY) for name in code(row[0])}
    assert set(get_args(Outcome)) == set(OUTCOMES) <= terms
    [detection] = [row[1] for row in rows(GLOSSARY) if row[0] == "`detection`"]
    assert code(detection) == [entry.name for entry in fields(FaceDetection)]
    sources = "\n".join(path.read_text() for path in (ROOT / "fairlit").rglob("*.py"))
    for term in terms:
        assert re.search(rf"\b{term.replace('*', '')}", sources), term


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), target


def test_every_page_is_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in pages()[1:] if f"(docs/{page.relative_to(ROOT / 'docs')})" not in readme] == []
