"""Text that others wrote: names of files, lines of notes, labels; none of it is trusted to be sound."""

from __future__ import annotations

import json
import re
import zlib
from typing import Any


def is_sound(text: str) -> bool:
    r"""Return whether text can be written as UTF-8 and be part of a path: no lone surrogate, no NUL.

    Names of files that are not UTF-8 reach Python with lone surrogates in them.

    Example:
        >>> is_sound("café.png"), is_sound("caf\udce9.png"), is_sound("a\x00b")
        (True, False, False)
    """
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def printable(text: str) -> str:
    r"""Return text in which what cannot be written as UTF-8 is spelt as an escape.

    Example:
        >>> printable("caf\udce9.png")
        'caf\\udce9.png'
    """
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")


def on_one_line(text: str) -> str:
    r"""Return text for a terminal: what would move its cursor or change its colours is spelt as an escape.

    Example:
        >>> on_one_line("café\x1b[31m\n")
        'café\\x1b[31m\\n'
    """
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def on_its_lines(text: str) -> str:
    r"""Return text of several lines for a terminal, each as `on_one_line` gives it.

    Example:
        >>> on_its_lines("2 problems\n  1. café\x1b[2J")
        '2 problems\n  1. café\\x1b[2J'
    """
    return "\n".join(map(on_one_line, text.split("\n")))


def shortened(value: object) -> str:
    """Return a value as messages show it, cut where it is long.

    Example:
        >>> shortened("a photo of " + "a very " * 20 + "old man")
        "'a photo of a very a very a very a very a very a very a very …"
    """
    # Of a text only the beginning is looked at; the size of other values is bounded where they are read.
    whole = repr(printable(value[:200])) if isinstance(value, str) else repr(value)
    return whole if len(whole) <= 63 else f"{whole[:61].rstrip()} …"


def parsed(text: str | bytes) -> Any:
    r"""Return what JSON holds; None where it is none, or nested too deeply to be read.

    Lone surrogates, which JSON can spell and UTF-8 cannot, become U+FFFD.

    Example:
        >>> parsed('{"a": 1}'), parsed('{"a": '), parsed("[" * 100_000), ascii(parsed('"\ud800"'))
        ({'a': 1}, None, None, "'\\ufffd'")
    """
    try:
        content = json.loads(text)
        written = json.dumps(content, ensure_ascii=False)
        if not is_sound(written):
            content = json.loads(written.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    except (ValueError, RecursionError):
        return None
    return content


def file_stem(text: str) -> str:
    """Return a name for a file out of any text: different texts give different names, and no path.

    Example:
        >>> file_stem("hair_color"), file_stem("../../etc")
        ('hair_color', 'etc_13c1bb1e')
    """
    stem = re.sub(r"[^\w-]+", "_", text).strip("_")[:60]
    return stem if stem and stem == text else f"{stem or 'x'}_{zlib.crc32(text.encode(errors='backslashreplace')):08x}"


def cell(value: object) -> object:
    """Return what to write into a CSV file: text that a spreadsheet would take for a formula begins with an apostrophe.

    Example:
        >>> cell("=1+1"), cell(-0.5), cell("a chef")
        ("'=1+1", -0.5, 'a chef')
    """
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value
