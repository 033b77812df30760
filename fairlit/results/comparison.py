"""Results of a comparison of methods: ``results.json`` of `fairlit compare`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from fairlit.results.figures import JOINT, DistributionFigures, GroupFigures, Similarities
from fairlit.results.files import FileRecord
from fairlit.results.frames import data_frame
from fairlit.results.judging import EncodersRecord, JudgeRecord, NotCounted, Origin
from fairlit.results.record import MERGED, OPTIONAL_KEY, Estimate, PlainData, Record
from fairlit.results.unversioned import current_figures, current_judge, renamed_joint

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class EditCounts(Record):
    """Edits of faces in a method's images.

    Attributes:
        chosen: number of faces that were to change.
        made: number of those that did change.
        confirmed: number of those that the judge sees too; None where it looks at the largest faces alone.
    """

    chosen: int
    made: int
    confirmed: int | None


@dataclass(frozen=True, kw_only=True)
class MethodResults(Record):
    """What is known of one method.

    Attributes:
        settings: the method's name and settings.
        needs: what it takes to use the method: ``training``, ``classifier``, ``words``.
        folder: folder of its images of the judged prompts.
        seconds_an_image: median seconds to sample and decode an image; None where nothing was timed.
        seconds_to_prepare: median seconds before the first image; None where nothing was timed.
        figures: figures of its images of the judged prompts.
        similarities: similarities of these images.
        unrelated: similarities of its images of unrelated prompts.
        not_counted: what is missing, damaged, or not an image, with the reasons.
        edits: edits of faces; None for methods that edit none.
        groups: people found and compositions; None where the largest face of an image alone counts.
    """

    settings: PlainData
    needs: tuple[str, ...]
    folder: str
    seconds_an_image: float | None
    seconds_to_prepare: float | None
    figures: DistributionFigures
    similarities: Similarities
    unrelated: Similarities
    not_counted: tuple[NotCounted, ...]
    edits: EditCounts | None = None
    groups: GroupFigures | None = field(default=None, metadata=OPTIONAL_KEY)


@dataclass(frozen=True, kw_only=True)
class BlockDifference(Record):
    """Difference of two methods in one attribute, or in the joint classes, with paired intervals.

    Attributes:
        tv: difference of the distances to the target.
        bias: difference of the biases.
    """

    tv: Estimate
    bias: Estimate

    def __neg__(self) -> BlockDifference:
        """Return the difference the other way round."""
        return BlockDifference(tv=-self.tv, bias=-self.bias)


@dataclass(frozen=True, kw_only=True)
class Difference(Record):
    """One method against another, paired by prompt and noise: the figures of the first minus those of the second.

    Attributes:
        first: name of a method.
        second: name of another method.
        attributes: attribute -> differences, below 0 where the first is nearer to the target.
        joint_classes: the same on the product of the classes; None where there is one attribute only.
        similarities: differences of the similarities, above 0 where the first keeps more.
        unrelated: the same on unrelated prompts.
    """

    first: str
    second: str
    attributes: Mapping[str, BlockDifference]
    joint_classes: BlockDifference | None = field(default=None, metadata=OPTIONAL_KEY)
    similarities: Similarities
    unrelated: Similarities

    @property
    def blocks(self) -> dict[str, BlockDifference]:
        """Differences of each attribute, then those of the joint classes where there are any."""
        return {**self.attributes, **({} if self.joint_classes is None else {JOINT: self.joint_classes})}

    def __neg__(self) -> Difference:
        """Return the difference the other way round."""
        return Difference(
            first=self.second,
            second=self.first,
            attributes={name: -block for name, block in self.attributes.items()},
            joint_classes=None if self.joint_classes is None else -self.joint_classes,
            similarities=_negative(self.similarities),
            unrelated=_negative(self.unrelated),
        )


def _negative(similarities: Similarities) -> Similarities:
    return Similarities(**{name: -estimate for name, estimate in similarities.measured.items()})


@dataclass(frozen=True, kw_only=True)
class Standing(Record):
    """Which method is nearest to the target in one attribute or in the joint classes, and of which others it is shown.

    Attributes:
        best: method with the smallest distance; None without faces.
        ahead_of: methods whose difference to it has an interval that excludes 0.
        not_ahead_of: the other methods with faces.
    """

    best: str | None
    ahead_of: tuple[str, ...] = ()
    not_ahead_of: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ComparisonResults(FileRecord):
    """Everything that a comparison finds.

    Attributes:
        standing: attribute, or ``joint_classes`` -> which method is nearest to the target.
        reference: name of the unchanged model among the methods; the others are compared with its images.
        target: target distribution, as `TargetDistribution.to_dict` writes it.
        tolerance: total variation distance to the target up to which a prompt counts as near it.
        model: pipeline folder or hub id.
        prompts: number of judged prompts.
        images: number of images of each of them.
        methods: name -> what is known of the method, the nearest to the target first.
        differences: every pair of methods.
        clip_i_swapped: what CLIP-I would be if every image were a reference image of another prompt; None where
            that cannot be told.
        judge: detector and classifier that judged.
        encoders: encoders that similarities were measured with.
        device: where the models ran.
        origin: how the results came about; merged with the other keys in JSON.
    """

    FILE: ClassVar[str] = "results.json"

    standing: Mapping[str, Standing]
    reference: str
    target: PlainData
    tolerance: float
    model: str
    prompts: int
    images: int
    methods: Mapping[str, MethodResults]
    differences: tuple[Difference, ...]
    clip_i_swapped: float | None
    judge: JudgeRecord
    encoders: EncodersRecord
    device: str
    origin: Origin = field(metadata=MERGED)

    def difference(self, first: str, second: str) -> Difference:
        """Return the figures of method `first` minus those of method `second`.

        Raises:
            KeyError: one of them is not among the methods.
        """
        return difference_of(self.differences, first, second)

    def to_frame(self) -> pd.DataFrame:
        """Return a table, one row a method and attribute (and one for the joint classes).

        Figures that are of the method as a whole, such as similarities and seconds, stand in all of its rows.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        rows = []
        for name, method in self.methods.items():
            whole: dict[str, object] = {"face_rate": method.figures.face_rate, "faces": method.figures.faces}
            for prefix, similarities in (("", method.similarities), ("unrelated_", method.unrelated)):
                for what, one in similarities.measured.items():
                    whole |= {f"{prefix}{what}": one.value, f"{prefix}{what}_low": one.low}
                    whole |= {f"{prefix}{what}_high": one.high}
            whole |= {
                "seconds_an_image": method.seconds_an_image,
                "seconds_to_prepare": method.seconds_to_prepare,
            }
            for block, figures in method.figures.blocks.items():
                row: dict[str, object] = {"method": name, "attribute": block}
                for what, one in (("tv", figures.tv), ("bias", figures.bias)):
                    row |= {what: one.value, f"{what}_low": one.low, f"{what}_high": one.high}
                    row |= {f"{what}_floor": one.floor}
                rows.append(row | whole)
        return data_frame(rows)

    @classmethod
    def _from_unversioned(cls, content: Mapping[str, Any]) -> Mapping[str, Any]:
        methods = {
            name: {**one, "figures": current_figures(one["figures"])} for name, one in content["methods"].items()
        }
        return {
            **content,
            "standing": renamed_joint(content["standing"]),
            "methods": methods,
            "differences": [renamed_joint(entry) for entry in content["differences"]],
            "judge": current_judge(content["judge"]),
        }


def difference_of(differences: tuple[Difference, ...], first: str, second: str) -> Difference:
    """Return the difference of two methods, whichever way round it was taken.

    Args:
        differences: every pair of methods.
        first: name of a method.
        second: name of another method.

    Returns:
        The figures of the first minus those of the second.

    Raises:
        KeyError: there is no such pair.
    """
    for entry in differences:
        if (entry.first, entry.second) == (first, second):
            return entry
        if (entry.first, entry.second) == (second, first):
            return -entry
    raise KeyError(f"no difference of {first!r} and {second!r}")
