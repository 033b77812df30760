"""Text of others in Markdown: shown as it is, never read as markup."""

from __future__ import annotations

import json
import re

_PLAIN = re.compile(r"-?[^\W_](?:[\w ,%()'→-]|\.(?![^\W\d_])|\[(?=[\d., ]+\](?!\())|\](?!\())*")


def inline(text: str) -> str:
    """Return text as Markdown on one line: plain words as they stand, all else as a code span.

    Example:
        >>> inline("share female"), inline("0.600 [0.500, 0.700]"), inline("<b> `x`")
        ('share female', '0.600 [0.500, 0.700]', '`` <b> `x` ``')
    """
    line = "".join(character if character.isprintable() else " " for character in text).strip()
    if not line or _PLAIN.fullmatch(line):
        return line
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    space = " " if line[0] == "`" or line[-1] == "`" else ""
    return f"{fence}{space}{line}{space}{fence}"


def code_span(text: str) -> str:
    """Return text as a code span, plain words too.

    Example:
        >>> code_span("runs/demo"), code_span("<b>")
        ('`runs/demo`', '`<b>`')
    """
    return span if (span := inline(text)).startswith("`") else f"`{span}`"


def cell(text: str) -> str:
    r"""Return text as the cell of a table, whose bars Markdown reads before code spans.

    Example:
        >>> cell("a|b"), cell("<b>"), cell("-")
        ('`a\\|b`', '`<b>`', '-')
    """
    return "-" if text.strip() == "-" else inline(text).replace("|", "\\|")  # no list begins within a table


def literal(text: str) -> str:
    r"""Return text as a Python string literal in double quotes, on one line.

    Example:
        >>> literal('a "b"'), literal("line\u2028")
        ('"a \\"b\\""', '"line\\u2028"')
    """
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(character if character.isprintable() else _escape(ord(character)) for character in quoted)


def _escape(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
