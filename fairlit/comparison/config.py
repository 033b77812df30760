"""Methods to compare, and how."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from fairlit.data.prompts.config import PromptSource, Split
from fairlit.errors import Problems
from fairlit.generation.config import SamplingConfig
from fairlit.judging.config import JudgeConfig, ReportConfig
from fairlit.mitigation.method import Method


@dataclass(frozen=True, kw_only=True)
class CompareConfig(JudgeConfig, ReportConfig, PromptSource, SamplingConfig):
    """Settings of `fairlit compare`; see `fairlit.compare`.

    Args:
        methods: mitigation methods by name, each with class_path and init_args; best in a config file
        only: names of the methods to compare; all by default
        adaptor: folder of a finetuned adaptor, in the place of the path of the method that is an adaptor
        unrelated_prompts: file of prompts that are to stay as they are
        unrelated_families: names of the families to take from that file; all by default
        unrelated_split: part of these families: train, val or test
        unrelated_images: number of images per unrelated prompt
        max_prompts: number of prompts to take of either kind, the first ones; all by default
    """

    heading: ClassVar[str] = "Methods"

    methods: Mapping[str, Method] = field(default_factory=dict)
    only: Sequence[str] | None = None
    adaptor: str | None = None
    unrelated_prompts: str | None = None
    unrelated_families: Sequence[str] | None = None
    unrelated_split: Split = "test"
    unrelated_images: int = 8
    max_prompts: int | None = None
    report_prompts: int = 4

    @property
    def unrelated(self) -> PromptSource:
        """The source of the unrelated prompts."""
        return PromptSource(
            prompts=self.unrelated_prompts, families=self.unrelated_families, split=self.unrelated_split
        )

    def check_numbers(self, problems: Problems) -> None:
        """Note numbers that are out of range."""
        problems.at_least("unrelated_images", self.unrelated_images, 1)
        if self.max_prompts is not None:
            problems.at_least("max_prompts", self.max_prompts, 1)
