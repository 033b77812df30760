"""Texts that can be prompts, and files of them that can be read."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path

from fairlit.errors import ConfigurationError, Problems
from fairlit.io.foreign_text import printable

MAX_PROMPTS = 100_000
"""How many prompts a file, or a split of a family, may give."""

_MAX_CHARACTERS = 10_000  # of a prompt; text encoders read a few hundred at most
_MAX_BYTES = 50_000_000  # of a file
_WHITE_SPACE = "\t\n\r"  # control characters that texts have for good reasons


def check_texts(texts: Iterable[str], problems: Problems) -> None:
    """Note texts that cannot be prompts: too long, or with control characters in them.

    Args:
        texts: prompts, or parts of them.
        problems: collector of the messages.
    """
    for text in texts:
        if len(text) > _MAX_CHARACTERS:
            problems.add(
                f"{shortened(text)}: got {len(text)} characters; expected at most {_MAX_CHARACTERS}; shorten it, or "
                "give one prompt a line"
            )
        elif stray := next((character for character in text if _is_stray(character)), None):
            problems.add(
                f"{shortened(text)}: got the control character U+{ord(stray):04X}; expected text; remove the character"
            )


def shortened(value: object) -> str:
    """Return a value as messages show it, cut where it is long.

    Example:
        >>> shortened("a photo of " + "a very " * 20 + "old man")
        "'a photo of a very a very a very a very a very a very a very …"
    """
    # Of a text only the beginning is looked at; other values are YAML, which `load_yaml` bounds.
    whole = repr(printable(value[:200])) if isinstance(value, str) else repr(value)
    return whole if len(whole) <= 63 else f"{whole[:61].rstrip()} …"


def read_text(path: Path, expected: str) -> str:
    """Return the content of a text file.

    Args:
        path: file in UTF-8, with or without a byte-order mark.
        expected: what the file should be, for messages.

    Raises:
        ConfigurationError: the file is missing, no ordinary file, too large or no text in UTF-8.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise ConfigurationError(f"cannot read {path} (it is no file); give {expected}")
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigurationError(
                f"cannot read {path} (it has more than {_MAX_BYTES // 1_000_000} MB); give {expected}, in parts"
            )
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or NUL in the path
        if isinstance(error, ConfigurationError):
            raise
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigurationError(f"cannot read {path} ({reason}); give {expected}") from error


def _is_stray(character: str) -> bool:
    return character not in _WHITE_SPACE and unicodedata.category(character) in ("Cc", "Cs")
