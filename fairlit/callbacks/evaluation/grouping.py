"""What prompts are reported under."""

from __future__ import annotations

from fairlit.data import PromptBatch, PromptDataModule
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.results.run import GroupedFigures, VariantFigures

MAIN = ""
"""Group of the prompts of trained families with the run's own target."""


class PromptGroups:
    """Names of the groups of prompts that an evaluation has met."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, TargetDistribution], str] = {}

    def name(self, batch: PromptBatch, data: PromptDataModule) -> str:
        """Return the group of a prompt: `MAIN`, or its family.

        Further targets within a family are numbered.

        Args:
            batch: the prompt.
            data: prompts of the run; it knows the run's target and the families trained on.
        """
        if batch.target == data.target and batch.family in data.trained_families:
            return MAIN
        key = (batch.family, batch.target)
        if key not in self._names:
            number = 1 + sum(family == batch.family for family, _ in self._names)
            self._names[key] = batch.family if number == 1 else f"{batch.family}_{number}"
        return self._names[key]


def main_figures(results: GroupedFigures) -> dict[str, VariantFigures]:
    """Return variant -> figures of the main group; of the first group where there is no main one."""
    return dict(results.get(MAIN) or next(iter(results.values())))
