"""The arguments that name a file of prompts; commands that make images and those that judge a folder share them."""

from __future__ import annotations

from typing import get_args

from jsonargparse import ArgumentParser

from fairlit.data.prompts.families import Split


def add_prompt_file(parser: ArgumentParser, explained: str) -> None:
    """Adds the file, and what of it is meant; `explained` says what the prompts are for."""
    parser.add_argument("--prompts", type=str | None, metavar="FILE", help=explained)
    parser.add_argument("--families", type=list[str] | None, help="of the prompt file; default: all")
    parser.add_argument("--split", type=Split, default="test", help=f"of the families: {', '.join(get_args(Split))}")
