"""What a distance to a target is made of: chance, two classifiers, more solver steps, and the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fairlit.functional.statistics.fairness import check_distribution, noise_floor_tv


@dataclass(frozen=True)
class DistanceParts:
    """Parts of the total variation distance between the shares of a prompt's faces and a target.

    All but the distance and the chance may be negative: what they stand for has brought the shares nearer.

    Attributes:
        distance: total variation distance of the shares that the judge sees.
        chance: expected distance of as many faces that are drawn from the target.
        classifiers: what the judge sees beyond what another classifier sees on the same faces.
        solver_steps: what is seen at more solver steps than in training beyond what is seen at those of training; 0
            where it was not measured.
        model: the rest, for which the model has to answer.
    """

    distance: float
    chance: float
    classifiers: float
    solver_steps: float
    model: float


def distance_parts(
    target: Sequence[float],
    judged: Sequence[float],
    other: Sequence[float],
    *,
    faces: int,
    at_training_steps: Sequence[float] | None = None,
) -> DistanceParts:
    """Take a distance to a target apart.

    The distance is half the sum of |p - t| over classes. With the signs s of p - t it is a linear function of the
    shares, s (p - t) / 2, so the differences between what one classifier and another see, and between what is seen at
    more and at fewer solver steps, are parts that add up to it.

    Args:
        target: share of each class that is asked for, [K].
        judged: shares that the judge sees, [K].
        other: shares that another classifier sees in the same images, such as the one that was trained against, [K].
        faces: number of faces.
        at_training_steps: shares that this classifier sees in images of as many solver steps as in training, from the
            same noise, [K]; None: not measured.

    Raises:
        ConfigurationError: shares that are negative or do not add up to 1, or no faces.

    Example:
        >>> parts = distance_parts([0.5, 0.5], [0.70, 0.30], [0.65, 0.35], faces=96, at_training_steps=[0.62, 0.38])
        >>> [round(part, 3) for part in (parts.distance, parts.chance, parts.classifiers, parts.solver_steps)]
        [0.2, 0.041, 0.05, 0.03]
        >>> round(parts.model, 3)
        0.079
    """
    wanted, seen, seen_by_other = (
        check_distribution(shares, name) for shares, name in ((target, "target"), (judged, "judged"), (other, "other"))
    )
    fewer = seen_by_other if at_training_steps is None else check_distribution(at_training_steps, "at_training_steps")
    signs = np.sign(seen - wanted) / 2
    distance, classifiers, steps, left = (
        float(signs @ difference)
        for difference in (seen - wanted, seen - seen_by_other, seen_by_other - fewer, fewer - wanted)
    )
    chance = noise_floor_tv(wanted, faces)
    return DistanceParts(distance, chance, classifiers, steps, left - chance)
