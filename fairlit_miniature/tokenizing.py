"""The miniature's tokenizer: CLIP's byte-level BPE with merges learned from the world's words.

Every word of the world is one token; any other text falls apart into smaller pieces, bytes at worst.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from transformers import CLIPTokenizer

from fairlit_miniature.models import MAX_TOKENS
from fairlit_miniature.world import vocabulary

WORD_END = "</w>"
SPECIAL = ("<|startoftext|>", "<|endoftext|>")


def byte_characters() -> list[str]:
    """The 256 characters that stand for bytes in byte-level BPE: printable Latin-1 as is, the rest from U+0100 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(len(others))]


def learn_merges(words: Sequence[str]) -> list[tuple[str, str]]:
    """Byte-pair merges after which every one of `words` is a single token; most frequent pair first, ties by name.

    Example:
        >>> learn_merges(["aab", "ab"])
        [('a', 'b</w>'), ('a', 'ab</w>')]
    """
    split = [[*word[:-1], word[-1] + WORD_END] for word in words]
    merges: list[tuple[str, str]] = []
    while True:
        pairs = Counter(pair for parts in split for pair in pairwise(parts))
        if not pairs:
            return merges
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        split = [_merge(parts, best) for parts in split]


def _merge(parts: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for part in parts:
        if merged and (merged[-1], part) == pair:
            merged[-1] += part
        else:
            merged.append(part)
    return merged


def build_tokenizer() -> CLIPTokenizer:
    """A CLIPTokenizer over the world's words, with room for every caption and a few soft tokens."""
    characters = byte_characters()
    merges = learn_merges(vocabulary())
    tokens = [*characters, *(character + WORD_END for character in characters)]
    tokens += [first + second for first, second in merges]
    tokens = [*dict.fromkeys(tokens), *SPECIAL]
    return CLIPTokenizer(
        vocab={token: number for number, token in enumerate(tokens)}, merges=merges, model_max_length=MAX_TOKENS
    )
