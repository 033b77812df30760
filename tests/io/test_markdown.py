"""Text of others in Markdown is shown, and never read as markup."""

from __future__ import annotations

import ast

import pytest
from markdown_it import MarkdownIt

from fairlit.io.markdown import cell, inline, literal

HOSTILE = (
    "<script>alert(1)</script>",
    "[free](https://example.org)",
    "![x](y)",
    "`` a ` b",
    "`",
    "# Measured",
    "a\n\n## Measured",
    "www.example.org",
    "*a* _b_ ~c~",
    "a|b",
    "\x1b[31m\udce9\u202e",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_neither_markup_nor_another_line_nor_another_cell(text: str) -> None:
    reader = MarkdownIt("gfm-like", {"linkify": False}).enable("table")
    shown = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    for content in (inline(text), f"| x |\n| --- |\n| {cell(text)} |"):
        tokens = reader.parse(content)
        parts = [part for token in tokens for part in (token, *(token.children or []))]
        assert {part.type for part in parts}.isdisjoint({"html_inline", "html_block", "link_open", "image", "em_open"})
        assert "heading_open" not in {part.type for part in parts}
        (found,) = [part for part in parts if part.type == "code_inline"]
        assert " ".join(found.content.split()) == shown


def test_figures_and_words_stand_as_they_are() -> None:
    for text in ("0.600 [0.500, 0.700]", "0.50 → 0.25", "1.00 (swapped 0.00)", "hair_color", "-0.5", "women's"):
        assert inline(text) == cell(text) == text
    assert cell("-") == "-"


@pytest.mark.parametrize("text", [*HOSTILE, 'a "b" \\', "\U0001f600"])
def test_literals_are_the_text(text: str) -> None:
    assert ast.literal_eval(literal(text)) == text
    assert len(literal(text).splitlines()) == 1
