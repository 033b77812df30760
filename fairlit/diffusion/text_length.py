"""Texts that are longer than a text encoder reads."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from fairlit.diffusion.single_files import config_folder
from fairlit.io.tokenizer_files import has_words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_LOG = logging.getLogger(__name__)

_SHOWN = 3  # texts; of more, the number is said


def open_tokenizer(model: str | Path) -> PreTrainedTokenizerBase | None:
    """Return the tokenizer of a pipeline without its weights; None where it is not on this machine or cannot be read.

    Args:
        model: folder, single file or hub id of the pipeline.
    """
    from transformers import CLIPTokenizer

    folder = config_folder(model)
    place, inside = (model, "tokenizer") if folder is None else (folder / "tokenizer", "")
    if folder is not None and not (folder / "tokenizer").is_dir():
        return None
    try:
        tokenizer = CLIPTokenizer.from_pretrained(str(place), subfolder=inside, local_files_only=True)
    except Exception:  # whatever is wrong with its files is told where the pipeline is loaded
        return None
    return tokenizer if has_words(tokenizer) else None


def cut_tokens(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    """Return how many tokens of a text are cut off at its end, because the text encoder does not read them.

    Args:
        tokenizer: tokenizer of the model.
        text: what the model is asked for.
    """
    limit = tokenizer.model_max_length
    if len(text.encode(errors="replace")) + 2 <= limit:  # no token is shorter than a byte; two mark the ends
        return 0
    return max(len(tokenizer(text, truncation=False, verbose=False).input_ids) - limit, 0)


def warn_of_cut_texts(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> None:
    """Say which texts are cut, and by how many tokens.

    Args:
        tokenizer: tokenizer of the model.
        texts: what the model is asked for.
    """
    found = {text: cut_tokens(tokenizer, text) for text in texts}
    cut = {text: tokens for text, tokens in found.items() if tokens}
    for text, tokens in list(cut.items())[:_SHOWN]:
        _LOG.warning("cut      %d tokens at the end of %r: the text encoder does not read them", tokens, shown(text))
    if len(cut) > _SHOWN:
        _LOG.warning("cut      %d of %d texts in all; shorten them", len(cut), len(found))


def shown(text: str, length: int = 60) -> str:
    """Return a text as messages show it: its beginning, and an ellipsis.

    Example:
        >>> shown("a photo of a doctor", 12)
        'a photo of …'
    """
    return text if len(text) <= length else text[: length - 1].rstrip() + " …"
