"""Results of a finetuning run: ``summary.json`` of a test, and the figures of a validation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from fairlit.results.distances import PromptDistance
from fairlit.results.figures import DistributionFigures, SimilarityFigures
from fairlit.results.files import FileRecord
from fairlit.results.frames import data_frame
from fairlit.results.record import MERGED, OPTIONAL_KEY, Estimate, PlainData, Record
from fairlit.results.unversioned import current_figures

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class VariantFigures(Record):
    """Figures of one variant of the model: unchanged, finetuned, or with the moving average of the weights.

    Attributes:
        similarities: similarities of its images; merged with the other keys in JSON.
        distribution: perceived attributes of its images; merged with the other keys in JSON.
    """

    similarities: SimilarityFigures = field(metadata=MERGED)
    distribution: DistributionFigures = field(metadata=MERGED)


GroupedFigures = Mapping[str, Mapping[str, VariantFigures]]
"""Group of prompts -> variant of the model -> figures."""


@dataclass(frozen=True, kw_only=True)
class OperatingFigures(Record):
    """Figures at another guidance scale, or at another strength of the adaptor, on the same prompts and noise.

    Attributes:
        guidance_scale: scale of classifier-free guidance.
        strength: factor on the adaptor's update; 1: as trained.
        steps: number of solver steps; None: that of the settings.
        before: figures of the unchanged model.
        after: figures of the finetuned model.
    """

    guidance_scale: float
    strength: float
    steps: int | None = field(default=None, metadata=OPTIONAL_KEY)
    before: VariantFigures
    after: VariantFigures


@dataclass(frozen=True, kw_only=True)
class NamedClass(Record):
    """What becomes of prompts that name a class, such as "a male nurse".

    Attributes:
        attribute: name of the attribute.
        label: class that the prompts name.
        before: share of the faces perceived as of this class, in images of the unchanged model.
        after: the same in images of the finetuned model, for the same prompts and noise.
    """

    attribute: str
    label: str
    before: Estimate
    after: Estimate


@dataclass(frozen=True, kw_only=True)
class RunSummary(FileRecord):
    """What the test of a run finds.

    Attributes:
        before: figures of the unchanged model.
        after: figures of the finetuned model, on the same prompts and noise.
        families: family of prompts with a target of its own, or that was not trained on -> variant of the model
            (``original``, ``finetuned``, ``ema``) -> figures.
        operating_points: figures at further guidance scales, strengths and numbers of solver steps, of the prompts of
            `before` and `after`.
        distances: what the distances that remain are made of; empty where the judge is the classifier that was trained
            against.
        named_classes: how often prompts that name a class get it; empty where that was not tested.
        after_is: variant of the model that `after` is about: ``finetuned`` or ``ema``.
        adaptor: digest of the adaptor's tensors.
        judge: classifier that judged.
        judge_is_trainer: whether that classifier was also trained against.
        wall_seconds: seconds of training, over all resumes, and of the test.
        fit_seconds: seconds of training.
        test_seconds: seconds of the test.
        version: version of fairlit.
        sampling: settings of sampling.
        config: everything else that the run was made with.
    """

    FILE: ClassVar[str] = "summary.json"

    before: VariantFigures
    after: VariantFigures
    families: GroupedFigures
    after_is: str
    adaptor: str
    judge: str
    judge_is_trainer: bool
    wall_seconds: float
    fit_seconds: float
    test_seconds: float
    version: str
    sampling: PlainData
    config: PlainData
    operating_points: tuple[OperatingFigures, ...] = ()
    distances: tuple[PromptDistance, ...] = ()
    named_classes: tuple[NamedClass, ...] = ()

    @property
    def usual_point(self) -> OperatingFigures:
        """Figures at the guidance scale and number of solver steps of the settings, and at full strength."""
        scale, steps = self.sampling.get("guidance_scale"), self.sampling.get("evaluation_steps")
        return OperatingFigures(
            guidance_scale=scale if isinstance(scale, int | float) else math.nan,
            strength=1.0,
            steps=steps if isinstance(steps, int) else None,
            before=self.before,
            after=self.after,
        )

    @property
    def points(self) -> list[OperatingFigures]:
        """Figures at all points, the usual one among them, by guidance scale, strength and number of solver steps."""
        usual = self.usual_point
        others = [replace(point, steps=point.steps or usual.steps) for point in self.operating_points]
        return sorted([usual, *others], key=lambda point: (point.guidance_scale, point.strength, point.steps or 0))

    def to_frame(self) -> pd.DataFrame:
        """Return a table, one row a group of prompts, variant and attribute (and one for the joint classes).

        The group of the prompts trained for is "", and its variants are ``before`` and ``after``.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        groups: dict[str, Mapping[str, VariantFigures]] = {"": {"before": self.before, "after": self.after}}
        return data_frame(_rows(groups | dict(self.families)))

    @classmethod
    def _from_unversioned(cls, content: Mapping[str, Any]) -> Mapping[str, Any]:
        families = {
            group: {variant: current_figures(one) for variant, one in variants.items()}
            for group, variants in content.get("families", {}).items()
        }
        both = {name: current_figures(content.get(name, {})) for name in ("before", "after")}
        return {**content, **both, "families": families}


@dataclass(frozen=True, kw_only=True)
class ValidationResults(FileRecord):
    """What a validation within a run finds: ``validation/step_NUMBER.json``.

    Attributes:
        groups: ``all``, the prompts of the run's own target, or a family of prompts -> variant of the model
            (``original``, ``finetuned``, ``ema``) -> figures.
    """

    FILE: ClassVar[str] = "validation.json"

    groups: GroupedFigures

    def to_frame(self) -> pd.DataFrame:
        """Return a table, one row a group of prompts, variant and attribute (and one for the joint classes).

        Raises:
            ConfigurationError: pandas is not installed.
        """
        return data_frame(_rows(self.groups))

    @classmethod
    def _from_unversioned(cls, content: Mapping[str, Any]) -> Mapping[str, Any]:
        groups = {
            group: {variant: current_figures(one) for variant, one in variants.items()}
            for group, variants in content.items()
        }
        return {"groups": groups}


def _rows(groups: GroupedFigures) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for group, variants in groups.items():
        for variant, figures in variants.items():
            whole: dict[str, object] = {"face_rate": figures.distribution.face_rate, "n": figures.distribution.n}
            whole |= {name: one.value for name, one in figures.similarities.measured.items()}
            for attribute, block in figures.distribution.blocks.items():
                row: dict[str, object] = {"group": group, "variant": variant, "attribute": attribute}
                for what, one in (("bias", block.bias), ("tv", block.tv)):
                    row |= {what: one.value, f"{what}_low": one.low, f"{what}_high": one.high}
                    row |= {f"{what}_floor": one.floor}
                rows.append(row | whole)
    return rows
