"""Where a command takes its prompts from."""

# Annotations are evaluated here: to resolve postponed ones, jsonargparse runs the imports below TYPE_CHECKING too.

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from fairlit.errors import Problems

if TYPE_CHECKING:
    from fairlit.data.prompts.families import Prompt

Split = Literal["train", "val", "test"]
"""Parts of the prompt families of a file."""


@dataclass(frozen=True, kw_only=True)
class PromptSource:
    """Source of the prompts of a command.

    Args:
        prompt: prompts, each in quotes
        prompts: text file with one prompt a line, table (CSV, TSV, JSON lines) with a column `prompt`, or prompt
            families in YAML or JSON
        families: names of the families to take from a file of prompt families; all by default
        split: part of the families to take: train, val or test
    """

    heading: ClassVar[str] = "Prompts"

    prompt: Sequence[str] = ()
    prompts: str | None = None
    families: Sequence[str] | None = None
    split: Split = "test"

    @property
    def is_given(self) -> bool:
        """Whether there are any prompts."""
        return bool(self.prompt) or self.prompts is not None

    def read(self, problems: Problems) -> "list[Prompt]":
        """Return the prompts, each once, and note what is wrong with them."""
        from fairlit.data.prompts.sources import read_prompts

        with problems.collecting():
            return read_prompts(self.prompt, self.prompts, self.families, self.split)
        return []

    def listed(self, problems: Problems) -> "list[Prompt]":
        """Return the prompts of numbered folders, each in its place, and note what is wrong with them."""
        from fairlit.data.prompts.sources import list_prompts

        with problems.collecting():
            return list_prompts(self.prompt, self.prompts, self.families, self.split)
        return []
