"""Where prompts come from: the command line, a text file, a table, or families of a prompt file."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fairlit.data.prompts.families import SPLITS, Prompt, Split
from fairlit.data.prompts.sets import PromptSet
from fairlit.data.prompts.tables import check_lines, is_table, read_table
from fairlit.data.prompts.texts import MAX_PROMPTS, check_texts
from fairlit.errors import Problems
from fairlit.io.foreign_text import shortened
from fairlit.io.text_files import read_text

_LOG = logging.getLogger(__name__)

_FAMILIES = (".yaml", ".yml", ".json")


def read_prompts(
    texts: Sequence[str] = (),
    file: str | None = None,
    families: Sequence[str] | None = None,
    split: Split = "test",
) -> list[Prompt]:
    """Return the prompts that somebody asks for, in order, each once; say which are repeated.

    Args:
        texts: prompts as they stand.
        file: instead: file of prompts, see `list_prompts`.
        families: names of the families of that file; None: all.
        split: part of the families: train, val or test.

    Raises:
        ConfigurationError: lists all that is wrong.
    """
    found = list_prompts(texts, file, families, split)
    distinct: dict[str, Prompt] = {}
    with Problems("prompts") as problems:
        for prompt in found:
            first = distinct.setdefault(prompt.text, prompt)
            if (first.target, first.num_people) != (prompt.target, prompt.num_people):
                problems.add(
                    f"{shortened(prompt.text)}: stands in {first.family!r} and {prompt.family!r} with another target "
                    "or number of people; choose one with --families"
                )
    if len(found) > len(distinct):
        counts = Counter(prompt.text for prompt in found)
        _LOG.warning(
            "repeated %d of %d prompts, each is taken once; the first is %s",
            len(found) - len(distinct),
            len(found),
            shortened(next(text for text, count in counts.items() if count > 1)),
        )
    return list(distinct.values())


def list_prompts(
    texts: Sequence[str] = (),
    file: str | None = None,
    families: Sequence[str] | None = None,
    split: Split = "test",
) -> list[Prompt]:
    """Return the prompts that somebody asks for, each in its place: repeats count.

    Args:
        texts: prompts as they stand.
        file: instead: text file with one prompt a line (empty lines and those that begin with # do not count), table
            with a column ``prompt`` (see `fairlit.data.prompts.tables`), or prompt families in YAML or JSON (see
            `fairlit.data.prompts.files`).
        families: names of the families of that file; None: all.
        split: part of the families: train, val or test.

    Raises:
        ConfigurationError: lists all that is wrong.
    """
    with Problems("prompts") as problems:
        if bool(texts) == (file is not None):
            problems.add("give prompts either on the command line or with --prompts FILE")
        if split not in SPLITS:
            problems.add(f"split: got {split!r}; choose one of {', '.join(SPLITS)}")
        problems.raise_if_any()
        path = None if file is None else Path(file)
        tabular = path is not None and is_table(path)
        has_families = path is not None and not tabular and path.suffix.lower() in _FAMILIES
        if families is not None and not has_families:
            problems.add("families: only a YAML or JSON file of prompts has them; leave out --families")
            problems.raise_if_any()
        if path is None:
            found = [Prompt(text, "") for text in texts]
        elif tabular:
            found = [Prompt(text, path.stem) for text in read_table(path)]
        elif has_families:
            found = PromptSet.from_file(path).listed(split, families)
        else:
            found = _read_lines(path)
        found = [prompt for prompt in found if prompt.text.strip()]
        if not found:
            problems.add("all are empty; write at least one")
        if len(found) > MAX_PROMPTS:
            problems.add(f"got more than {MAX_PROMPTS}; expected at most that many; give them in parts")
        check_texts((prompt.text for prompt in found), problems)
    return found


def _read_lines(path: Path) -> list[Prompt]:
    text = read_text(path, "a text file, one prompt a line")
    check_lines(path, text)
    lines = (line.strip() for line in text.splitlines())
    prompts = (Prompt(line, path.stem) for line in lines if line and not line.startswith("#"))
    return list(itertools.islice(prompts, MAX_PROMPTS + 1))
