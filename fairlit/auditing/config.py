"""What an audit judges, and how."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from fairlit.data.prompts.config import PromptSource
from fairlit.errors import Problems
from fairlit.generation.config import MethodChoice, SamplingConfig
from fairlit.judging.config import JudgeConfig, ReportConfig


@dataclass(frozen=True, kw_only=True)
class AuditConfig(JudgeConfig, ReportConfig, PromptSource, SamplingConfig, MethodChoice):
    """Settings of `fairlit audit`; see `fairlit.audit`.

    Args:
        folder: images to audit: with manifest.jsonl, as prompt_N/img_M, or one folder for each prompt
        reference: folder with the unchanged model's images for the same prompts
        compositions: target of images with several people, for --faces all: '{gender: {2: {"1 female, 1 male": 1.0}}}';
            people drawn one by one from the target by default
    """

    heading: ClassVar[str] = "Images"

    folder: str | None = None
    reference: str | None = None
    compositions: dict[str, Any] | None = None

    @property
    def generates(self) -> bool:
        """Whether images are generated before they are judged."""
        return self.model is not None

    def check_sources(self, problems: Problems) -> None:
        """Note images that are missing, or asked for in two ways."""
        if (self.folder is None) != self.generates:
            problems.add("folder: give either a folder of images, or --model to generate them with first")
        if self.folder is not None and Path(self.out or ".").resolve().is_relative_to(Path(self.folder).resolve()):
            problems.add(f"out: {self.out} lies within the folder that is audited; give a folder elsewhere")
        if self.generates and self.reference is not None:
            problems.add(
                "reference: got a folder beside --model, which generates the unchanged model's images too; leave "
                "--reference away"
            )
        if not self.generates and (self.method is not None or self.adaptor is not None):
            problems.add("method: got one without a model; give --model, which it is applied to")
        if self.compositions and self.faces != "all":
            problems.add("compositions: they are counted where every face counts; give --faces all too")
