"""Where prompts come from: the command line, a text file, or families of a prompt file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fairlit.data.prompts.families import SPLITS, Prompt, Split
from fairlit.data.prompts.sets import PromptSet
from fairlit.errors import ConfigurationError, Problems


def read_prompts(
    texts: Sequence[str] = (),
    file: str | None = None,
    families: Sequence[str] | None = None,
    split: Split = "test",
) -> list[Prompt]:
    """The prompts that somebody asks for, in order, each once.

    Args:
        texts: prompts as they stand.
        file: instead: a text file with one prompt a line (empty lines and those that begin with # do not count), or a
            file of prompt families in YAML or JSON, see `data.prompt_files`.
        families: of that file; None: all.
        split: of the families: train, val or test.

    Raises:
        ConfigurationError: lists all that is wrong.
    """
    with Problems("prompts") as problems:
        if bool(texts) == (file is not None):
            problems.add("give prompts either on the command line or with --prompts FILE")
        if split not in SPLITS:
            problems.add(f"split: got {split!r}; choose one of {', '.join(SPLITS)}")
        is_text = file is not None and Path(file).suffix.lower() not in (".yaml", ".yml", ".json")
        if families is not None and (file is None or is_text):
            problems.add("families: only a YAML or JSON file of prompts has them; leave --families away")
        problems.raise_if_any()
        if file is None:
            found = [Prompt(text, "") for text in texts]
        elif is_text:
            found = _read_lines(Path(file))
        else:
            found = PromptSet.from_file(file).select(split, families)
        distinct = list({prompt.text: prompt for prompt in found if prompt.text.strip()}.values())
        if not distinct:
            problems.add("all are empty; write at least one")
    return distinct


def _read_lines(path: Path) -> list[Prompt]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigurationError(f"cannot read {path} ({reason}); give a text file, one prompt a line") from error
    return [Prompt(line.strip(), path.stem) for line in lines if not line.lstrip().startswith("#")]
