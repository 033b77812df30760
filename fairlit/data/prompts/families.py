"""Families of prompts: templates with words to fill them, or whole prompts, split for training, validation and test."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from fairlit.functional.alignment.target_distribution import TargetDistribution

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
PLACEHOLDER = re.compile(r"{(an? )?(\w+)}")
# Words are spelt with a vowel and spoken with a consonant (a unicyclist, a one-man band), or the other way round.
_SPOKEN_CONSONANT = re.compile(r"(eu|ewe|uni(?!n)|us(?=[ae])|uti|uro|uku|ufo|one\b|once\b)", re.IGNORECASE)
_SPOKEN_VOWEL = re.compile(r"([aeiou]|hon(?=est|ou?r)|hour|heir|[fhlmnrsx]-)", re.IGNORECASE)


@dataclass(frozen=True)
class Prompt:
    """One prompt.

    Attributes:
        text: what the model is asked for.
        family: name of the family it belongs to.
        target: its own target distribution; None: that of the run.
        num_people: number of people that it asks for.
    """

    text: str
    family: str
    target: TargetDistribution | None = None
    num_people: int = 1


@dataclass(frozen=True)
class PromptFamily:
    """Templates and the words that fill them, or whole prompts, or both.

    Attributes:
        name: of the family.
        templates: texts with ``{placeholders}``, for all splits or for each; ``{a word}`` takes the word with its
            indefinite article.
        fillers: placeholder -> split -> words.
        repeat: how often each training prompt occurs in one pass over the family.
        target: the family's own target distribution; None: that of the run.
        whole: split -> prompts that need no filling; they come after those of the templates.
        targets: word or whole prompt -> target distribution of the prompts with it, instead of the family's.
        num_people: number of people that every prompt asks for; or word -> number, by the first of these words in a
            prompt.
    """

    name: str
    templates: Sequence[str] | Mapping[str, Sequence[str]]
    fillers: Mapping[str, Mapping[str, Sequence[str]]]
    repeat: int = 1
    target: TargetDistribution | None = None
    whole: Mapping[str, Sequence[str]] = field(default_factory=dict)
    targets: Mapping[str, TargetDistribution] = field(default_factory=dict)
    num_people: int | Mapping[str, int] = 1

    def prompts(self, split: Split) -> list[Prompt]:
        """Every template with every combination of its words of that split, then whole prompts, without duplicates."""
        found: dict[str, Prompt] = {}
        for prompt in self.written(split):
            found.setdefault(prompt.text, prompt)
        return list(found.values()) * (self.repeat if split == "train" else 1)

    def written(self, split: Split) -> list[Prompt]:
        """Return every prompt of a split in its place, once through the family, with duplicates."""
        found: list[Prompt] = []
        for template in self._templates(split):
            names = placeholders(template)
            for combination in itertools.product(*self._words(template, split)):
                text = fill(template, dict(zip(names, combination, strict=True)))
                found.append(self._prompt(text, combination))
        return found + [self._prompt(text, [text]) for text in self.whole.get(split, ())]

    def count(self, split: Split) -> int:
        """Return the number of prompts of a split, with duplicates, without making them."""
        made = (math.prod(map(len, self._words(template, split))) for template in self._templates(split))
        return sum(made) + len(self.whole.get(split, ()))

    def longest(self, split: Split) -> Iterator[str]:
        """Yield the longest prompt of each template of a split, then whole prompts."""
        for template in self._templates(split):
            words = self._words(template, split)
            if all(words):
                longest = (max(entry, key=len) for entry in words)
                yield fill(template, dict(zip(placeholders(template), longest, strict=True)))
        yield from self.whole.get(split, ())

    def _templates(self, split: Split) -> Sequence[str]:
        return self.templates.get(split, ()) if isinstance(self.templates, Mapping) else self.templates

    def _words(self, template: str, split: Split) -> list[Sequence[str]]:
        return [self.fillers[name].get(split, ()) for name in placeholders(template)]

    def _prompt(self, text: str, made_of: Sequence[str]) -> Prompt:
        own = next((self.targets[part] for part in made_of if part in self.targets), self.target)
        return Prompt(text, self.name, own, people_asked(text, self.num_people))


def people_asked(text: str, num_people: int | Mapping[str, int]) -> int:
    """How many people a prompt asks for, given the number, or the words that say it; 1 where none of them is in it.

    Example:
        >>> people_asked("a team of three engineers", {"two": 2, "three": 3})
        3
    """
    if isinstance(num_people, int):
        return num_people
    return next((num_people[word] for word in re.findall(r"[\w-]+", text.lower()) if word in num_people), 1)


def placeholders(template: str) -> list[str]:
    """Names of the placeholders of a template, in the order in which they first occur.

    Example:
        >>> placeholders("{a job} {place}, the {job}")
        ['job', 'place']
    """
    return list(dict.fromkeys(name for _, name in PLACEHOLDER.findall(template)))


def fill(template: str, words: Mapping[str, str]) -> str:
    """The template with its placeholders replaced.

    Example:
        >>> fill("the face of {a job} {place}", {"job": "architect", "place": "at sea"})
        'the face of an architect at sea'
    """
    return PLACEHOLDER.sub(lambda found: (with_article if found[1] else str)(words[found[2]]), template)


def with_article(words: str) -> str:
    """The words with the indefinite article that fits how their beginning is spoken.

    A rule of thumb for English with the common exceptions; whole prompts are there for words that it gets wrong.

    Example:
        >>> [with_article(word) for word in ("actor", "usher", "user experience designer", "hourly worker", "nurse")]
        ['an actor', 'an usher', 'a user experience designer', 'an hourly worker', 'a nurse']
    """
    vowel = _SPOKEN_VOWEL.match(words) and not _SPOKEN_CONSONANT.match(words)
    return f"{'an' if vowel else 'a'} {words}"
