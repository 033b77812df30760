"""What an audit judges, and how."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fairlit.data.prompts.config import PromptSource
from fairlit.errors import Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.generation.config import MethodChoice, SamplingConfig
from fairlit.judging.config import JudgeConfig, ReportConfig, check_classifier

if TYPE_CHECKING:
    from fairlit.judging.observations import Judge


@dataclass(frozen=True, kw_only=True)
class SecondClassifier:
    """A classifier beside the one that judges, for what of a distance is disagreement of the two.

    Args:
        second_classifier: another classifier for the same faces, such as the one that was trained against: the audit
            then says what of every distance is chance, what the two see differently, and what remains
    """

    heading: ClassVar[str] = "Second classifier"

    second_classifier: str | dict[str, Any] | None = None

    def check_second_classifier(
        self, classifier: str | dict[str, Any] | None, target: TargetDistribution | None, problems: Problems
    ) -> None:
        """Note what is wrong with the second classifier, without loading weights.

        Args:
            classifier: classifier that judges.
            target: target distribution; None where that is wrong itself.
            problems: where messages go.
        """
        from fairlit.faces.classifier_files import same_classifier

        if self.second_classifier is None:
            return
        if classifier is not None and same_classifier(self.second_classifier, classifier):
            problems.add(
                f"second_classifier: got {self.second_classifier}, which is the classifier that judges; expected "
                "another one; leave it out, or give one that was trained apart"
            )
        check_classifier(self.second_classifier, "second_classifier", target, problems)

    def with_second(self, judge: "Judge") -> "Judge":
        """Return a judge with the second classifier, on the judge's device; itself without one.

        Args:
            judge: detector and classifier.

        Raises:
            CheckpointError: the second classifier is damaged.
        """
        from fairlit.faces.classifier_files import load_classifier

        if self.second_classifier is None:
            return judge
        second = load_classifier(self.second_classifier).to(judge.classifier.device)
        return replace(judge, second=second, names={**judge.names, "second_classifier": self.second_classifier})


@dataclass(frozen=True, kw_only=True)
class AuditConfig(JudgeConfig, SecondClassifier, ReportConfig, PromptSource, SamplingConfig, MethodChoice):
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

    def digests(self) -> dict[str, str]:
        """Return what the judge's do, and a digest of the second classifier."""
        from fairlit.faces.classifier_files import classifier_digest

        if self.second_classifier is None:
            return super().digests()
        return {**super().digests(), "second_classifier": classifier_digest(self.second_classifier)}

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
                "out --reference"
            )
        if not self.generates and (self.method is not None or self.adaptor is not None):
            problems.add("method: got one without a model; give --model, which it is applied to")
        if self.compositions and self.faces != "all":
            problems.add("compositions: they are counted where every face counts; give --faces all too")
