"""Learned prompt tokens ("soft tokens", textual inversion): new rows of the text encoders' vocabularies."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import Tensor, nn

from fairlit.adaptors.base import Adaptor, Components, master_dtype
from fairlit.adaptors.files import TOKENS_FILE, AdaptorMetadata
from fairlit.adaptors.formats.kohya import CLIP_KEYS, TOKENS_KEY
from fairlit.adaptors.formats.low_rank import is_factor
from fairlit.adaptors.records import DEFAULT_TOKEN, FORMER_TOKEN
from fairlit.diffusion.families.lookup import family_of
from fairlit.errors import ConfigurationError, Problems
from fairlit.io.foreign_text import shortened


def placeholder_tokens(token: str, count: int) -> tuple[str, ...]:
    """Return the names of `count` tokens, as diffusers' textual inversion derives them from the first one.

    Example:
        >>> placeholder_tokens("<fairlit>", 3)
        ('<fairlit>', '<fairlit>_1', '<fairlit>_2')
    """
    return (token, *(f"{token}_{index}" for index in range(1, count)))


LONGEST_TOKEN = 100  # characters of a name, which becomes that of a file


def is_token(name: str) -> bool:
    r"""Return whether soft tokens can be called so in files and prompts.

    Names of control characters, and those that files use for something else, are none.

    Example:
        >>> is_token("<fairlit>"), is_token("<\x1b[31m>"), is_token("__metadata__"), is_token("lora_up")
        (True, False, False, False)
    """
    return 0 < len(name) <= LONGEST_TOKEN and name.isprintable() and name not in _RESERVED and not is_factor(name)


_RESERVED = ("__metadata__", TOKENS_KEY, *CLIP_KEYS.values())  # of safetensors, and of files of web user interfaces


def check_token(token: str, problems: Problems) -> None:
    """Note a name that files cannot hold, or CLIP's tokenizer, which turns prompts into lower case, would not find."""
    if not is_token(token) or token != token.lower() or " " in token:
        problems.add(f"token is {shortened(token)}; give a lower-case name without spaces, e.g. '{DEFAULT_TOKEN}'")


class TokenEmbedding(nn.Module):
    """A frozen embedding table with a few trained rows behind it.

    Args:
        base: the model's own table [V, D].
        rows: [K, D] initial values of the trained rows, float32 or float64.
        first_id: token id of the first trained row; the others follow.
    """

    def __init__(self, base: nn.Embedding, rows: Tensor, first_id: int) -> None:
        super().__init__()
        self.base = base  # before `trained`: a model's dtype is that of its first parameter
        self.trained = nn.Embedding.from_pretrained(rows, freeze=False)
        self.first_id = first_id

    @property
    def weight(self) -> Tensor:
        """The model's own table [V, D]."""
        return self.base.weight

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return the embeddings [..., D] of ids [...], in the base table's dtype."""
        offsets = input_ids - self.first_id
        is_trained = (offsets >= 0) & (offsets < self.trained.num_embeddings)
        known = self.base(input_ids.masked_fill(is_trained, 0))
        learned = self.trained(offsets.clamp(0, self.trained.num_embeddings - 1))
        return torch.where(is_trained.unsqueeze(-1), learned.to(known.dtype), known)


class SoftTokens(Adaptor):
    """A few trained tokens in front of every prompt; everything else stays as it is.

    Their embeddings start as those of random vocabulary entries (Shen et al. 2024, who train five), or of a text that
    may stand before any prompt without changing much. The empty prompt of classifier-free guidance gets no tokens. A
    stock pipeline that has opened the saved file with ``load_textual_inversion`` makes the same images for the prompt
    ``"<fairlit> a photo of ..."``. Of two text encoders each learns tokens of its own under the same names, which start
    as the same words; the file is one, and a stock pipeline opens it with two calls.

    The pooled embedding of Stable Diffusion XL is read at the token of the highest number, in stock diffusers as here:
    the last soft token instead of the prompt's end, where ComfyUI and AUTOMATIC1111's web UI go on reading it.

    Args:
        count: how many tokens.
        token: name of the first placeholder token; the others get ``_1``, ``_2``, ... appended. It must be new to the
            tokenizer, and no word in brackets: AUTOMATIC1111's web UI would replace that word in every prompt. Lower
            case, because CLIP's tokenizer turns prompts into lower case.
        initial_text: what the tokens say at the start, over and over until all have a word; null: random entries.
        seed: of the choice of random entries.

    Raises:
        ConfigurationError: an argument is out of range.
    """

    kind = "soft_tokens"
    file_name = TOKENS_FILE

    def __init__(
        self, count: int = 5, token: str = DEFAULT_TOKEN, initial_text: str | None = None, *, seed: int = 0
    ) -> None:
        super().__init__()
        self.count = count
        self.token = token
        self.initial_text = initial_text
        self.seed = seed
        self._tokenizer: Any = None
        self._original_tokenizers: dict[str, Any] = {}
        with Problems("soft tokens") as problems:
            problems.at_least("count", count, 1)
            check_token(token, problems)

    @property
    def tokens(self) -> tuple[str, ...]:
        """Names of all placeholder tokens."""
        return placeholder_tokens(self.token, self.count)

    def _add_to(self, components: Components) -> dict[str, nn.Parameter]:
        names = family_of(components).tokenizers
        tokenizers = {encoder: getattr(components, name) for encoder, name in names.items()}
        self._original_tokenizers = {name: copy.deepcopy(getattr(components, name)) for name in names.values()}
        self._tokenizer = components.tokenizer
        words = self._words(components.tokenizer)
        starts = {encoder: _known_ids(tokenizer, words) for encoder, tokenizer in tokenizers.items()}
        for tokenizer in {id(tokenizer): tokenizer for tokenizer in tokenizers.values()}.values():
            self._name_tokens(tokenizer)
        rows = {}
        for encoder, tokenizer in tokenizers.items():
            first_id = tokenizer.convert_tokens_to_ids(self.token)
            rows[encoder] = _put_rows(getattr(components, encoder), starts[encoder], first_id)
        return {CLIP_KEYS[encoder] if len(rows) > 1 else self.token: row for encoder, row in rows.items()}

    def _words(self, tokenizer: Any) -> list[str]:
        """Return the vocabulary entries that the tokens start as."""
        if self.initial_text is None:
            ids = _random_ids(tokenizer, self.count, self.seed)
        else:
            ids = _ids_of_text(tokenizer, self.count, self.initial_text)
        return list(tokenizer.convert_ids_to_tokens(ids))

    def _name_tokens(self, tokenizer: Any) -> None:
        """Add the placeholders to a tokenizer."""
        taken = [token for token in (*self.tokens, f"{self.token}_1") if token in tokenizer.get_vocab()]
        if taken:
            raise ConfigurationError(f"soft tokens: the tokenizer knows {taken[0]!r} already; choose another `token`")
        first_id = len(tokenizer)
        tokenizer.add_tokens(list(self.tokens))
        _check_tokenizer(tokenizer, self.tokens, first_id)

    def _set_enabled(self, enabled: bool) -> None:
        """Do nothing: the trained rows act through the placeholders in the prompt alone."""

    def adapt_prompt(self, prompt: str) -> str:
        """Put all placeholder tokens before `prompt`; return `prompt` itself while the adaptor is disabled.

        What is too long for the text encoder is cut at the end, as in a stock pipeline, so the tokens stay; a
        warning says that it happens.
        """
        if not self.enabled:
            return prompt
        adapted = f"{' '.join(self.tokens)} {prompt}".rstrip()
        if self._tokenizer is not None:
            length = len(self._tokenizer(adapted, truncation=False, verbose=False).input_ids)
            limit = self._tokenizer.model_max_length
            if length > limit:
                warnings.warn(
                    f"with {self.count} soft tokens the prompt {prompt!r} has {length} tokens, {length - limit} more "
                    "than the text encoder takes: its end is cut off",
                    stacklevel=2,
                )
        return adapted

    def pipeline_prompt(self, prompt: str) -> str:
        """Put the first placeholder before `prompt`; a stock pipeline expands it to all of them."""
        return f"{self.token} {prompt}".rstrip()

    def strip(self, pipeline: DiffusionPipeline) -> None:
        """Give the copied text encoders of `pipeline` their own tables back, and the tokenizers their vocabularies."""
        for encoder, name in family_of(pipeline).tokenizers.items():
            module = getattr(pipeline, encoder)
            module.set_input_embeddings(module.get_input_embeddings().base)
            setattr(pipeline, name, copy.deepcopy(self._original_tokenizers[name]))

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments, as plain data."""
        return {"count": self.count, "token": self.token, "initial_text": self.initial_text, "seed": self.seed}

    def _canonical_name(self, name: str) -> str:
        return DEFAULT_TOKEN if (name, self.token) == (FORMER_TOKEN, DEFAULT_TOKEN) else name

    def _complete(self, metadata: AdaptorMetadata) -> AdaptorMetadata:
        return dataclasses.replace(metadata, kind=self.kind, tokens=self.tokens)


def _known_ids(tokenizer: Any, words: Sequence[str]) -> list[int]:
    """Return the numbers of vocabulary entries; the second tokenizer of a model has those of the first."""
    vocabulary = tokenizer.get_vocab()
    if unknown := [word for word in words if word not in vocabulary]:
        raise ConfigurationError(
            f"soft tokens: a tokenizer of the model does not know {unknown[0]!r}, which another one does; expected "
            "tokenizers of one vocabulary; choose another initial_text"
        )
    return [vocabulary[word] for word in words]


def _put_rows(text_encoder: Any, start: Sequence[int], first_id: int) -> nn.Parameter:
    """Put trained rows behind a text encoder's table, and return them.

    Args:
        text_encoder: text encoder, changed in place.
        start: numbers of the entries that the rows start as.
        first_id: number of the first row.
    """
    base = text_encoder.get_input_embeddings()
    table = base.weight.detach()
    rows = table[torch.tensor(list(start), device=table.device)].to(master_dtype(table.dtype), copy=True)
    embedding = TokenEmbedding(base, rows, first_id)
    text_encoder.set_input_embeddings(embedding)
    return embedding.trained.weight


def _random_ids(tokenizer: Any, count: int, seed: int) -> list[int]:
    """Return different ordinary vocabulary entries."""
    special = set(tokenizer.all_special_ids)
    ordinary = [index for index in sorted(tokenizer.get_vocab().values()) if index not in special]
    if count > len(ordinary):
        raise ConfigurationError(
            f"soft tokens: count is {count}, the vocabulary has only {len(ordinary)} entries; give fewer (5 is usual)"
        )
    order = torch.randperm(len(ordinary), generator=torch.Generator().manual_seed(seed))
    return [ordinary[place] for place in order[:count].tolist()]


def _ids_of_text(tokenizer: Any, count: int, text: str) -> list[int]:
    """Return the tokens of `text`, repeated or cut."""
    ids = tokenizer(text, add_special_tokens=False).input_ids
    if not ids:
        raise ConfigurationError(f"soft tokens: initial_text is {text!r}, which has no tokens; write a word or more")
    return list(ids * count)[:count]


def _check_tokenizer(tokenizer: Any, tokens: Sequence[str], first_id: int) -> None:
    """Make sure that the tokenizer takes the placeholders for what they are, also in front of other text."""
    expected = list(range(first_id, first_id + len(tokens)))
    ids = tokenizer(f"{' '.join(tokens)} a", add_special_tokens=False).input_ids
    if tokenizer.convert_tokens_to_ids(list(tokens)) != expected or ids[: len(tokens)] != expected:
        raise ConfigurationError(
            f"soft tokens: the tokenizer does not keep {list(tokens)} apart; choose another `token`, e.g. "
            f"'{DEFAULT_TOKEN}'"
        )
