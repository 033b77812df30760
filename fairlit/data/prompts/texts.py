"""Texts that can be prompts."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from fairlit.errors import Problems
from fairlit.io.foreign_text import shortened

MAX_PROMPTS = 100_000
"""How many prompts a file, or a split of a family, may give."""

_MAX_CHARACTERS = 10_000  # of a prompt; text encoders read a few hundred at most
_SHOWN = 3  # problems of one kind
_WHITE_SPACE = "\t\n\r"  # control characters that texts have for good reasons


def check_texts(texts: Iterable[str], problems: Problems) -> None:
    """Note texts that cannot be prompts: too long, or with control characters in them.

    Args:
        texts: prompts, or parts of them.
        problems: collector of the messages.
    """
    found = Problems("")
    for text in texts:
        if len(found.messages) == _SHOWN:
            found.add("and more like these")
            break
        if len(text) > _MAX_CHARACTERS:
            found.add(
                f"{shortened(text)}: got {len(text)} characters; expected at most {_MAX_CHARACTERS}; shorten it, or "
                "give one prompt a line"
            )
        elif stray := next((character for character in text if _is_stray(character)), None):
            found.add(
                f"{shortened(text)}: got the control character U+{ord(stray):04X}; expected text; remove the character"
            )
    for message in found.messages:
        problems.add(message)


def _is_stray(character: str) -> bool:
    return character not in _WHITE_SPACE and unicodedata.category(character) in ("Cc", "Cs")
