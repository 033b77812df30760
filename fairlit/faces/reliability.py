"""What a classifier's saved validation says of whether its answers can be relied on."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fairlit.errors import Problems
from fairlit.io.foreign_text import shortened

_LOG = logging.getLogger(__name__)

RELIABLE = 0.8
"""Balanced accuracy below which a classifier's users are warned."""

ABOVE_CHANCE = 0.05
"""What a classifier's balanced accuracy must have above that of one answer for all faces."""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """How well a classifier tells the classes of one attribute apart.

    Attributes:
        attribute: name of the attribute.
        faces: number of labelled validation faces.
        balanced_accuracy: mean over the labelled classes of the share of their faces that were recognised, in [0, 1].
        chance: balanced accuracy of one answer for all faces.
        only_answer: class that every face was taken for; None where there are several answers.
    """

    attribute: str
    faces: int
    balanced_accuracy: float
    chance: float
    only_answer: str | None = None

    @property
    def has_learnt(self) -> bool:
        """Whether the answers tell more than one answer for all faces would."""
        return self.only_answer is None and self.balanced_accuracy > self.chance + ABOVE_CHANCE

    @property
    def is_reliable(self) -> bool:
        """Whether nobody needs to be warned."""
        return self.has_learnt and self.balanced_accuracy >= RELIABLE

    @property
    def figures(self) -> str:
        """The figures in words."""
        words = f"balanced accuracy {self.balanced_accuracy:.2f} on its {self.faces} validation faces, where chance is "
        same = "" if self.only_answer is None else f" (every face was taken for {shortened(self.only_answer)})"
        return f"{words}{self.chance:.2f}{same}"


def reliability(
    confusions: Mapping[str, Sequence[Sequence[int]]], classes: Mapping[str, Sequence[str]]
) -> dict[str, Reliability]:
    """Return what confusion matrices say of each attribute; nothing of those with fewer than two labelled classes.

    Args:
        confusions: attribute -> counts [K][K] of faces labelled with the row's class and taken for the column's.
        classes: class names of each attribute.

    Example:
        >>> found = reliability({"gender": [[29, 0], [43, 0]]}, {"gender": ("female", "male")})["gender"]
        >>> found.balanced_accuracy, found.chance, found.only_answer, found.has_learnt
        (0.5, 0.5, 'female', False)
        >>> reliability({"gender": [[27, 2], [3, 40]]}, {"gender": ("female", "male")})["gender"].is_reliable
        True
    """
    found = {}
    for attribute, rows in confusions.items():
        recalls = [row[place] / sum(row) for place, row in enumerate(rows) if sum(row)]
        if len(recalls) < 2:
            continue
        answers = [
            name for name, counts in zip(classes[attribute], zip(*rows, strict=True), strict=True) if any(counts)
        ]
        found[attribute] = Reliability(
            attribute=attribute,
            faces=sum(map(sum, rows)),
            balanced_accuracy=sum(recalls) / len(recalls),
            chance=1 / len(recalls),
            only_answer=answers[0] if len(answers) == 1 else None,
        )
    return found


def note_unlearnt(
    found: Mapping[str, Reliability], attributes: Iterable[str], subject: str, problems: Problems
) -> None:
    """Note attributes of which a classifier knows no more than chance.

    Args:
        found: reliability of the attributes that were validated.
        attributes: attributes that the classifier is asked about.
        subject: setting that names the classifier.
        problems: collector of the messages.
    """
    for one in _asked(found, attributes):
        if not one.has_learnt:
            problems.add(
                f"{subject}: got a classifier that has learnt nothing about {shortened(one.attribute)}: {one.figures}; "
                f"expected more than {one.chance + ABOVE_CHANCE:.2f}; train it again, or choose another classifier"
            )


def warn_of_errors(found: Mapping[str, Reliability], attributes: Iterable[str], subject: str) -> None:
    """Warn of attributes about which a classifier is often wrong.

    Args:
        found: reliability of the attributes that were validated.
        attributes: attributes that the classifier is asked about.
        subject: setting that names the classifier.
    """
    for one in _asked(found, attributes):
        if not one.is_reliable:
            told = "often wrong" if one.has_learnt else "has learnt nothing"
            _LOG.warning("%s: %s about %s: %s", subject, told, shortened(one.attribute), one.figures)


def _asked(found: Mapping[str, Reliability], attributes: Iterable[str]) -> list[Reliability]:
    return [found[name] for name in attributes if name in found]
