"""Tokenizers without words, which libraries give where files are missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fairlit.errors import ConfigurationError, Problems
from fairlit.io.model_folders import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_WHOLE, _WORDS, _MERGES = "tokenizer.json", "vocab.json", "merges.txt"


def has_words(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether a tokenizer knows more than its special tokens.

    Without files, transformers 5 gives a CLIPTokenizer of two tokens instead of an error.

    Args:
        tokenizer: opened tokenizer.
    """
    return len(tokenizer) > len(set(tokenizer.all_special_ids))


def require_words(tokenizer: PreTrainedTokenizerBase, place: str | Path) -> None:
    """Refuse a tokenizer that would read every text as the same unknown words.

    Args:
        tokenizer: opened tokenizer.
        place: folder or hub id that it was opened from.

    Raises:
        ConfigurationError: it knows special tokens alone.
    """
    if not has_words(tokenizer):
        raise ConfigurationError(
            f"{place}: got a tokenizer without words; expected {_WHOLE}, or {_WORDS} and {_MERGES}; copy them again"
        )


def check_tokenizer_files(folder: Path, subject: str, problems: Problems) -> None:
    """Note files of a CLIP tokenizer that are missing or damaged.

    Args:
        folder: folder of the tokenizer.
        subject: name of the parameter, begins every message.
        problems: collector of the messages.
    """
    present = {name for name in (_WHOLE, _WORDS, _MERGES) if (folder / name).is_file()}
    if _WHOLE not in present and present != {_WORDS, _MERGES}:
        problems.add(f"{subject}: {folder} holds neither {_WHOLE} nor {_WORDS} with {_MERGES}; copy the folder again")
    for name in sorted(present - {_MERGES}):
        read_json(folder / name, subject, problems)
