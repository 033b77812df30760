"""Results of an audit: ``results.json`` of `fairlit audit`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from fairlit.results.distances import SecondClassifierFigures
from fairlit.results.figures import (
    CorrectedFigures,
    DistributionFigures,
    GroupFigures,
    Outcome,
    SimilarityFigures,
)
from fairlit.results.files import FileRecord
from fairlit.results.judging import EncodersRecord, FolderRecord, JudgeRecord, Origin
from fairlit.results.record import MERGED, OPTIONAL_KEY, PlainData, Record
from fairlit.results.unversioned import current_figures, current_judge, renamed_joint, renamed_outcome

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Verdict(Record):
    """What an audit's figures allow to say, and no more.

    Attributes:
        outcome: ``off_target`` if any prompt misses the target in any attribute or in the joint classes;
            ``on_target`` if all are near it in all of them; else ``inconclusive``.
        headline: the same as a sentence.
        statements: attribute, or ``joint_classes`` -> a sentence on it.
    """

    outcome: Outcome
    headline: str
    statements: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ReferenceImages(Record):
    """Images of the unchanged model for the same prompts and noise.

    Attributes:
        folder: where they lie, and how many could be judged; merged with `figures` in JSON.
        figures: their figures.
    """

    folder: FolderRecord = field(metadata=MERGED)
    figures: DistributionFigures


@dataclass(frozen=True, kw_only=True)
class AuditResults(FileRecord):
    """Everything that an audit finds.

    Attributes:
        verdict: what the figures allow to say.
        target: target distribution, as `TargetDistribution.to_dict` writes it.
        tolerance: total variation distance to the target up to which a prompt counts as near it.
        judge: detector and classifier that judged.
        encoders: encoders that similarities were measured with; None without any.
        audited: the folder that was audited.
        figures: figures of its images.
        corrected: attribute, or ``joint_classes`` -> figures corrected for the classifier's errors, as far as its
            validation tells them.
        similarities: similarities of the images to their prompts and to reference images; None without encoders.
        images_for_tolerance: images of one prompt that it takes for a share's interval as wide as the tolerance on
            either side.
        groups: people found and compositions; None where the largest face of an image alone counts.
        second_classifier: what a second classifier says of the same faces; None without one.
        reference_images: the unchanged model's images; None without any.
        origin: how the results came about; merged with the other keys in JSON.
        doubts: sentences on what the figures may not be relied on for; left out where there are none.
    """

    FILE: ClassVar[str] = "results.json"

    verdict: Verdict
    target: PlainData
    tolerance: float
    judge: JudgeRecord
    encoders: EncodersRecord | None
    audited: FolderRecord
    figures: DistributionFigures
    corrected: Mapping[str, CorrectedFigures]
    similarities: SimilarityFigures | None
    images_for_tolerance: int
    groups: GroupFigures | None
    reference_images: ReferenceImages | None
    second_classifier: SecondClassifierFigures | None = field(default=None, metadata=OPTIONAL_KEY)
    origin: Origin = field(metadata=MERGED)
    doubts: tuple[str, ...] | None = field(default=None, metadata=OPTIONAL_KEY)

    def to_frame(self, per: Literal["prompt", "attribute"] = "prompt") -> pd.DataFrame:
        """Return the figures as a table, see `DistributionFigures.to_frame`.

        Args:
            per: ``prompt``: one row a prompt, attribute and class; ``attribute``: one row an attribute and class.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        return self.figures.to_frame(per)

    @classmethod
    def _from_unversioned(cls, content: Mapping[str, Any]) -> Mapping[str, Any]:
        current = dict(content)
        verdict = content.get("verdict", {})
        current["verdict"] = renamed_outcome(verdict) | {"statements": renamed_joint(verdict.get("statements", {}))}
        current["judge"] = current_judge(content.get("judge", {}))
        current["figures"] = current_figures(content.get("figures", {}))
        current["corrected"] = renamed_joint(content.get("corrected", {}))
        current["similarities"] = content.get("similarities") or None
        current.setdefault("groups", None)
        original = current.pop("original", None)
        current["reference_images"] = (
            None if original is None else original | {"figures": current_figures(original["figures"])}
        )
        return current
