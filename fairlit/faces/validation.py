"""How a classifier did on faces that it was not trained on, saved with its weights for whoever reads its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairlit.errors import ConfigurationError


@dataclass(frozen=True)
class AttributeValidation:
    """One attribute on validation data.

    Attributes:
        confusion: counts [K][K]: faces labelled with the row's class, taken for the column's.
        ece_before: expected calibration error at temperature 1, in [0, 1]: the mean difference of confidence and
            accuracy over 15 bins of confidence (Guo et al., ICML 2017, equation 3).
        ece_after: the same at the temperature that was fitted.

    Raises:
        ConfigurationError: The counts are no square table of whole numbers from 0 up, or an error is no number.
    """

    confusion: tuple[tuple[int, ...], ...]
    ece_before: float
    ece_after: float

    def __post_init__(self) -> None:
        rows = tuple(tuple(row) for row in self.confusion)
        if any(len(row) != len(rows) or any(not isinstance(n, int) or n < 0 for n in row) for row in rows):
            raise ConfigurationError(f"confusion is {self.confusion}: give a square table of counts")
        for name, value in (("ece_before", self.ece_before), ("ece_after", self.ece_after)):
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise ConfigurationError(f"{name} is {value!r}: give a number in [0, 1]")
        object.__setattr__(self, "confusion", rows)

    @property
    def samples(self) -> int:
        """Number of labelled faces."""
        return sum(map(sum, self.confusion))

    @property
    def accuracy(self) -> float:
        """Share of right answers; NaN without a labelled face."""
        right = sum(row[index] for index, row in enumerate(self.confusion))
        return right / self.samples if self.samples else float("nan")


def read_validation(
    data: Mapping[str, Any], classes: Mapping[str, Sequence[str]]
) -> tuple[dict[str, AttributeValidation], list[str]]:
    """Validations out of plain data, and what is wrong with them, in words.

    Args:
        data: For some attributes an `AttributeValidation` or its fields.
        classes: Class names of each attribute.
    """
    found, problems = {}, []
    for attribute, fields in data.items():
        try:
            entry = fields if isinstance(fields, AttributeValidation) else AttributeValidation(**fields)
        except (TypeError, ConfigurationError) as error:
            problems.append(f"validation of {attribute!r} cannot be read ({error}): remove it")
            continue
        if len(entry.confusion) != len(classes.get(attribute, ())):
            problems.append(f"validation of {attribute!r} does not fit its classes: remove it")
        found[attribute] = entry
    return found, problems
