"""Prompt sets: the families of one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fairlit.data.prompts.families import SPLITS, Prompt, PromptFamily, Split
from fairlit.data.prompts.files import read_families
from fairlit.data.prompts.texts import MAX_PROMPTS
from fairlit.errors import ConfigurationError

__all__ = ["SPLITS", "Prompt", "PromptFamily", "PromptSet", "Split"]


class PromptSet:
    """The prompt families of one file; `data.prompt_files` says how such files are written.

    Args:
        families: in the order of the file.
        source: where they came from, for messages.
    """

    def __init__(self, families: Sequence[PromptFamily], source: str = "prompts") -> None:
        self.families = {family.name: family for family in families}
        self.source = source

    @classmethod
    def from_file(cls, path: str | Path) -> PromptSet:
        """Reads and checks a prompt file.

        Raises:
            ConfigurationError: all that is wrong with the file at once.
        """
        return cls(read_families(Path(path)), str(path))

    def select(self, split: Split, families: Sequence[str] | None = None) -> list[Prompt]:
        """The prompts of a split, family by family.

        Args:
            split: train, val or test.
            families: names of the families wanted; None: all.

        Raises:
            ConfigurationError: an unknown family, or no prompts.
        """
        return [prompt for family in self._chosen(split, families) for prompt in family.prompts(split)]

    def listed(self, split: Split, families: Sequence[str] | None = None) -> list[Prompt]:
        """Return the prompts of a split as they are written, once through each family, repeats in their places.

        Args:
            split: train, val or test.
            families: names of the families wanted; None: all.

        Raises:
            ConfigurationError: an unknown family, or no prompts.
        """
        return [prompt for family in self._chosen(split, families) for prompt in family.written(split)]

    def _chosen(self, split: Split, families: Sequence[str] | None) -> Sequence[PromptFamily]:
        names = [*self.families] if families is None else families
        if unknown := [name for name in names if name not in self.families]:
            raise ConfigurationError(
                f"families: {self.source} has no {', '.join(map(repr, unknown))}; it has {', '.join(self.families)}; "
                "choose among these"
            )
        chosen = [self.families[name] for name in names]
        if not any(family.count(split) for family in chosen):
            raise ConfigurationError(
                f"prompts: {self.source} gives no {split} prompts for {', '.join(names) or 'no family'}; "
                f"add words under `{split}`, or choose other families"
            )
        made = sum(family.count(split) * (family.repeat if split == "train" else 1) for family in chosen)
        if made > MAX_PROMPTS:  # before any of them is made
            raise ConfigurationError(
                f"prompts: {self.source} gives {made} {split} prompts; expected at most {MAX_PROMPTS}; give fewer "
                "words or templates, or choose some of the families"
            )
        return chosen
