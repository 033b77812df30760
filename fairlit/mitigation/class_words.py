"""Which image of a set is to show which class, and the texts that say so."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import torch
from torch import Tensor

from fairlit.data.prompts.class_words import PROMPT, WORDS, insert_words
from fairlit.functional.alignment.apportionment import apportion
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.mitigation.method import Chunk, Wording

_MAX_WORDINGS = 64


def word_wordings(prompt: str, spoken: Sequence[str], after: str | None, *, template: str) -> list[Wording]:
    """Return the texts of a prompt with words for each class; the words have to be read to their end.

    Args:
        prompt: the prompt.
        spoken: words for each class; of very many, the longest are looked at.
        after: see `insert_words`.
        template: see `insert_words`.
    """
    match = re.search(after, prompt) if after else None
    until_words = template[: template.rindex(WORDS) + len(WORDS)] if match is None else ""
    beginning = until_words.replace(PROMPT, prompt) if match is None else f"{prompt[: match.end()].rstrip()} {WORDS}"
    return [
        Wording(text=insert_words(prompt, words, after, template=template), needed=beginning.replace(WORDS, words))
        for words in sorted(spoken, key=len)[-_MAX_WORDINGS:]
    ]


def joint_labels(chunk: Chunk, target: TargetDistribution, seed: int) -> Tensor:
    """The joint class that each image of a chunk is to show.

    Over the whole set the target's shares hold as exactly as whole numbers allow
    (`functional.alignment.apportionment`). Which image shows what depends on seed, prompt, position and size of the set
    alone.

    Returns:
        int64 [n], places in the flattened table of `target`.
    """
    digest = int.from_bytes(hashlib.sha256(chunk.prompt.encode()).digest()[:8], "little")
    labels = apportion(target.table.flatten(), chunk.count, (seed, digest))
    return labels[torch.tensor(list(chunk.positions), dtype=torch.long)]


def dealt_classes(chunk: Chunk, target: TargetDistribution, seed: int) -> list[dict[str, str]]:
    """Return the classes for which `joint_labels` stand: of each image, attribute -> class.

    Example:
        >>> target = TargetDistribution({"gender": {"female": 0.5, "male": 0.5}, "age": {"young": 1.0, "old": 0.0}})
        >>> sorted(tuple(classes.items()) for classes in dealt_classes(Chunk.whole("a chef", 2), target, 0))
        [(('gender', 'female'), ('age', 'young')), (('gender', 'male'), ('age', 'young'))]
    """
    places = torch.stack(torch.unravel_index(joint_labels(chunk, target, seed), target.table.shape), dim=1)
    return [
        {name: names[place] for (name, names), place in zip(target.classes.items(), own, strict=True)}
        for own in places.tolist()
    ]
