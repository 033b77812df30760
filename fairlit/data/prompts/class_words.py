"""Words for the classes of a target, and prompts with such words in them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch

from fairlit.errors import Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution

WORDS, PROMPT = "{words}", "{prompt}"

Words = Mapping[str, Mapping[str, str]]
"""Attribute -> class -> what a prompt calls it, e.g. ``{skin_tone: {dark: dark-skinned}}``."""


def check_words(words: Words, target: TargetDistribution, problems: Problems) -> None:
    """Notes words for attributes or classes that the target does not have, and classes of the same words."""
    for attribute, own in words.items():
        if attribute not in target.classes:
            problems.add(f"words: {attribute!r} is no attribute of the target; use {_listed(target.attributes)}")
            continue
        for name in own:
            if name not in target.classes[attribute]:
                problems.add(f"words: {name!r} is no class of {attribute!r}; use {_listed(target.classes[attribute])}")
    for attribute, names in target.classes.items():
        spoken = [class_word(words, attribute, name) for name in names]
        for word in sorted({word for word in spoken if spoken.count(word) > 1 or not word.strip()}):
            problems.add(f"words: classes of {attribute!r} are called {word!r}; give each a word of its own")


def check_wording(after: str | None, template: str, placeholders: Sequence[str], *, problems: Problems) -> None:
    """Notes a template without its placeholders, and what is no regular expression; see `insert_words`."""
    for placeholder in placeholders:
        if placeholder not in template:
            problems.add(f"template: {template!r} lacks its placeholder {placeholder}; put it in")
    try:
        re.compile(after or "")
    except re.error as error:
        problems.add(f"after: {after!r} is no regular expression ({error}); correct it")


def insert_words(prompt: str, words: str, after: str | None, *, template: str) -> str:
    """A prompt with words for a class.

    Args:
        prompt: the prompt.
        words: for the class.
        after: regular expression; the words go behind what it first matches.
        template: what to make of a prompt that it does not match, with ``{prompt}`` and ``{words}``.

    Example:
        >>> insert_words("a photo of the face of a doctor", "young female", "face of an?", template="{prompt}, {words}")
        'a photo of the face of a young female doctor'
        >>> insert_words("a doctor", "young female", "face of an?", template="{prompt}, {words}")
        'a doctor, young female'
    """
    match = re.search(after, prompt) if after else None
    if match is None:
        return template.replace(PROMPT, prompt).replace(WORDS, words)
    return f"{prompt[: match.end()].rstrip()} {words} {prompt[match.end() :].lstrip()}".strip()


def phrases(words: Words, target: TargetDistribution) -> list[str]:
    """What to call the people of each joint class, in the row-major order of the target's table.

    A class without a word goes by its name. Attributes are named in the order of `words`, then of the target.

    Example:
        >>> target = TargetDistribution({"gender": {"female": 0.5, "male": 0.5}, "age": {"young": 1.0, "old": 0.0}})
        >>> phrases({"age": {"old": "elderly"}}, target)
        ['young female', 'elderly female', 'young male', 'elderly male']
    """
    order = sorted(target.attributes, key=lambda name: list(words).index(name) if name in words else len(words))
    rows = []
    for cell in range(target.table.numel()):
        labels = dict(zip(target.attributes, torch.unravel_index(torch.tensor(cell), target.table.shape), strict=True))
        spoken = [class_word(words, name, target.classes[name][int(labels[name])]) for name in order]
        rows.append(" ".join(spoken))
    return rows


def words_by_attribute(words: Words, target: TargetDistribution) -> list[list[str]]:
    """What to call each class of each attribute, in the order of the target."""
    return [[class_word(words, attribute, name) for name in names] for attribute, names in target.classes.items()]


def class_word(words: Words, attribute: str, name: str) -> str:
    """Return what a prompt calls a class: its word, or its name."""
    return words.get(attribute, {}).get(name, name.replace("_", " "))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
