"""The arguments that name a folder of images and its prompts; ``fairlit audit`` and ``edit`` share them."""

from __future__ import annotations

from collections.abc import Sequence

from jsonargparse import ArgumentParser, Namespace

from fairlit.commands.prompt_arguments import add_prompt_file
from fairlit.errors import Problems
from fairlit.judging.image_folders import ImageFolder, find_images


def add_folder_argument(parser: ArgumentParser) -> None:
    """Adds the folder itself."""
    parser.add_argument(
        "folder",
        type=str | None,
        nargs="?",
        help="images: with manifest.jsonl, as prompt_N/img_M, or one folder a prompt",
    )


def add_folder_prompts(parser: ArgumentParser) -> None:
    """Adds what a folder in the layout prompt_N/img_M was asked for."""
    add_prompt_file(parser, "prompts of a folder in the layout prompt_N/img_M, by number")


def find_folders(given: Namespace, names: Sequence[str], problems: Problems) -> list[ImageFolder]:
    """What lies in the folders that these arguments name, of those that are given; notes what is wrong."""
    texts = people = None
    if given.prompts is not None or given.prompt:
        from fairlit.data.prompts.sources import read_prompts

        with problems.collecting():
            entries = read_prompts(given.prompt or (), given.prompts, given.families, given.split)
            texts, people = [entry.text for entry in entries], [entry.num_people for entry in entries]
    found = []
    for name in names:
        if given[name] is not None:
            with problems.collecting():
                found.append(find_images(given[name], texts, people))
    return found
