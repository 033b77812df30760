"""Tables of prompts: CSV, TSV, JSON lines, and JSON lists, with the prompts under the name ``prompt``."""

from __future__ import annotations

import csv
import io
import logging
from pathlib import Path
from typing import Any

from fairlit.data.prompts.texts import MAX_PROMPTS
from fairlit.errors import ConfigurationError, Problems
from fairlit.io.foreign_text import parsed, shortened
from fairlit.io.text_files import read_text
from fairlit.io.wording import counted

_LOG = logging.getLogger(__name__)

_COLUMN = "prompt"
_CELLS = (".csv", ".tsv")
_JSON_LINES = (".jsonl", ".ndjson")
_DELIMITERS = ",\t;"
_SHOWN = 3  # problems of one kind


def is_table(path: Path) -> bool:
    """Return whether a file is a table of prompts, by its ending; of JSON, whether it is a list.

    Raises:
        ConfigurationError: a JSON file cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        return read_text(path, "a JSON file of prompts").lstrip()[:1] == "["
    return suffix in _CELLS + _JSON_LINES


def read_table(path: Path) -> list[str]:
    """Return the prompts of a table in their order, repeats included.

    Args:
        path: file with the ending .csv, .tsv, .jsonl, .ndjson or .json.

    Raises:
        ConfigurationError: there is no column or key ``prompt``, or a row cannot be read or has no prompt.
    """
    text = read_text(path, "a table with a column `prompt`, or a text file with one prompt a line")
    suffix = path.suffix.lower()
    with Problems(str(path)) as problems:
        if suffix in _CELLS:
            rows = _rows_of_cells(text, problems)
        elif suffix in _JSON_LINES:
            lines = [(f"line {number}", line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
            rows = [(place, parsed(line)) for place, line in lines[: MAX_PROMPTS + 1]]
        else:
            content = parsed(text)
            if not isinstance(content, list):
                problems.add("got no JSON that can be read; correct it")
            rows = [(f"entry {number}", entry) for number, entry in enumerate(content or [], 1)]
        prompts = [_prompt_of(entry) for _, entry in rows]
        wrong = [place for (place, _), prompt in zip(rows, prompts, strict=True) if not prompt]
        if wrong:
            listed = ", ".join(wrong[:_SHOWN]) + (f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else "")
            problems.add(f'{listed}: got no prompt; expected a text, or one as {{"prompt": "..."}}; add or remove it')
    unused = dict.fromkeys(str(key) for _, entry in rows if isinstance(entry, dict) for key in entry)
    if others := [key for key in unused if not _is_prompt(key)]:
        _LOG.info("read     %s of %s; not used: %s", counted(len(prompts), "prompt"), path, ", ".join(others[:10]))
    return [prompt for prompt in prompts if prompt is not None]


def check_lines(path: Path, text: str) -> None:
    """Refuse lines of text that are a table.

    Args:
        path: text file, for the message.
        text: its content.

    Raises:
        ConfigurationError: the lines are JSON, or the first one names columns.
    """
    first = next((line for line in text.splitlines() if line.strip()), "")
    if isinstance(parsed(first), dict):
        raise ConfigurationError(f"{path}: got JSON; expected one prompt a line; rename it to {path.stem}.jsonl")
    if (delimiter := _delimiter(first)) is not None and delimiter in first:
        ending = "tsv" if delimiter == "\t" else "csv"
        raise ConfigurationError(
            f"{path}: got a table, which begins with {shortened(first)}; expected one prompt a line; rename it to "
            f"{path.stem}.{ending}"
        )


def _rows_of_cells(text: str, problems: Problems) -> list[tuple[str, Any]]:
    """The rows of a table of cells, each as column -> cell, with where it begins."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = _delimiter(header)
    if delimiter is None:
        problems.add(
            f"got a first line without a column `{_COLUMN}`: {shortened(header)}; expected one; name the column of the "
            "prompts so, or give a text file (.txt) with one prompt a line"
        )
        return []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[tuple[str, Any]] = []
    columns: list[str] = []
    try:
        for cells in reader:
            if len(rows) > MAX_PROMPTS:  # refused by whoever asked for them
                break
            if not any(cell.strip() for cell in cells):
                continue
            if not columns:
                columns = [cell.strip() for cell in cells]
            elif len(cells) != len(columns):
                problems.add(
                    f"line {reader.line_num}: got {len(cells)} cells; expected {len(columns)}, as the first line has; "
                    "put prompts with a comma in double quotes"
                )
            else:
                rows.append((f"line {reader.line_num}", dict(zip(columns, cells, strict=True))))
    except csv.Error as error:
        problems.add(f"line {reader.line_num}: got no CSV that can be read ({error}); correct it")
    if len(problems.messages) > _SHOWN:
        problems.messages[_SHOWN:] = [f"and {len(problems.messages) - _SHOWN} more lines like these"]
    return rows


def _delimiter(header: str) -> str | None:
    """What separates the columns of a header, one of which is for prompts; None: there is none."""
    for delimiter in _DELIMITERS:
        if any(_is_prompt(cell) for cell in next(csv.reader([header], delimiter=delimiter), [])):
            return delimiter
    return None


def _prompt_of(entry: Any) -> str | None:
    """The prompt of a row; None where it has none."""
    if isinstance(entry, dict):
        entry = next((value for key, value in entry.items() if _is_prompt(str(key))), None)
    return entry.strip() or None if isinstance(entry, str) else None


def _is_prompt(name: str) -> bool:
    return name.strip().lower() == _COLUMN
