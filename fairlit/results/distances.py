"""What distances to a target are made of, as audits and tests keep it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fairlit.results.record import OPTIONAL_KEY, Estimate, Record


@dataclass(frozen=True, kw_only=True)
class PromptDistance(Record):
    """What the distance to the target is made of, for one prompt and attribute.

    `chance`, `classifiers`, `solver_steps` and `model` add up to the distance; all of these but `chance` may be
    negative.

    Attributes:
        prompt: text of the prompt.
        attribute: name of the attribute.
        faces: number of faces.
        distance: total variation distance of the shares that the judge sees.
        chance: distance that as many faces of a model that meets its target would show on average.
        classifiers: what the judge sees beyond what another classifier sees in the same images: the second one of an
            audit, in a test the one that was trained against.
        solver_steps: what more solver steps than in training add; None where it was not measured.
        model: the rest, for which the model has to answer.
        agreement: share of the faces that both classifiers take for the same class; None where it was not counted.
    """

    prompt: str
    attribute: str
    faces: int
    distance: float
    chance: float
    classifiers: float
    solver_steps: float | None
    model: float
    agreement: float | None = field(default=None, metadata=OPTIONAL_KEY)


@dataclass(frozen=True, kw_only=True)
class SecondClassifierFigures(Record):
    """What a second classifier says of the faces that were judged.

    Attributes:
        agreement: attribute -> share of the faces that both classifiers take for the same class, averaged over prompts.
        distances: what the distance of every prompt with faces is made of, attribute by attribute.
    """

    agreement: Mapping[str, Estimate]
    distances: tuple[PromptDistance, ...]
