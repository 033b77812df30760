"""Which captions are true of which pictures: CLIP learns that "a female person" is true of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fairlit_miniature.world import ATTRIBUTES, WORDS, Scene, captions

_CLASSES = {word: (name, label) for name, words in WORDS.items() for label, word in words.items()}
_NAMES = list(ATTRIBUTES)


@dataclass(frozen=True)
class CaptionTruth:
    """Captions of N pictures, K of each, and what they say.

    Attributes:
        texts: the captions, N of each kind.
        rests: number of what a caption says besides attributes, int64 [K, N]; equal numbers, equal texts.
        named: class of each attribute that a caption names, -1 where it names none, int64 [K, N, A].
        shown: class of each attribute that everybody in a picture has, -1 where they differ, int64 [N, A].
    """

    texts: list[list[str]]
    rests: Tensor
    named: Tensor
    shown: Tensor

    @classmethod
    def of(cls, scenes: Sequence[Scene]) -> CaptionTruth:
        """Return the captions of scenes, `world.captions`."""
        texts = [list(kind) for kind in zip(*(captions(scene) for scene in scenes), strict=True)]
        parts = [[_take_apart(text) for text in kind] for kind in texts]
        numbers = {rest: number for number, rest in enumerate(sorted({rest for kind in parts for rest, _ in kind}))}
        rests = torch.tensor([[numbers[rest] for rest, _ in kind] for kind in parts])
        named = torch.tensor([[classes for _, classes in kind] for kind in parts])
        return cls(texts, rests, named, torch.tensor([_shown(scene) for scene in scenes]))

    def matches(self, pictures: Tensor, kinds: Tensor) -> Tensor:
        """Return which of a batch's captions are true of which of its pictures.

        Args:
            pictures: numbers of M pictures, int64 [M].
            kinds: which of its captions each brings, int64 [M].

        Returns:
            bool [M, M]; rows are pictures, columns captions. The diagonal is true.
        """
        rest, named = self.rests[kinds, pictures], self.named[kinds, pictures]
        same_rest = (self.rests[:, pictures, None] == rest).any(dim=0)
        holds = (named == -1) | (named == self.shown[pictures][:, None])
        return same_rest & holds.all(dim=-1)


def _take_apart(text: str) -> tuple[str, list[int]]:
    """Return a caption without its attribute words, and the classes that those name."""
    classes, rest = [-1] * len(_NAMES), []
    for word in text.split():
        if word in _CLASSES:
            name, label = _CLASSES[word]
            classes[_NAMES.index(name)] = ATTRIBUTES[name].index(label)
        else:
            rest.append(word)
    return " ".join(rest), classes


def _shown(scene: Scene) -> list[int]:
    """Return the class of each attribute that all people of a scene share, or -1."""
    shown = []
    for name, classes in ATTRIBUTES.items():
        labels = {person[name] for person in scene.people}
        shown.append(classes.index(labels.pop()) if len(labels) == 1 else -1)
    return shown
