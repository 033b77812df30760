"""The summary of a test, and how long a run has taken."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict

from fairlit.callbacks.evaluation.grouping import MAIN, main_figures
from fairlit.io.digests import fairlit_version, tensor_digest
from fairlit.io.jsonable import to_jsonable
from fairlit.results.distances import PromptDistance
from fairlit.results.run import GroupedFigures, NamedClass, OperatingFigures, RunSummary, VariantFigures
from fairlit.training import FairFinetuner
from fairlit.training.finetuning.operating_points import OperatingPoint


class RunClock:
    """Seconds that training has taken, over all resumes, and those of the evaluation that runs."""

    def __init__(self) -> None:
        self._before = 0.0
        self._fit_started: float | None = None
        self._evaluation_started = 0.0

    def start_fit(self) -> None:
        """Begin to count the seconds of training."""
        self._fit_started = time.monotonic()

    def start_evaluation(self) -> None:
        """Begin to count the seconds of an evaluation."""
        self._evaluation_started = time.monotonic()

    def resume(self, fit_seconds: float) -> None:
        """Go on from the seconds of training before a resume."""
        self._before = fit_seconds

    @property
    def fit_seconds(self) -> float:
        """Seconds of training up to now."""
        running = time.monotonic() - self._fit_started if self._fit_started is not None else 0.0
        return self._before + running

    @property
    def fit_seconds_before(self) -> float:
        """Seconds of training before this process."""
        return self._before

    @property
    def evaluation_seconds(self) -> float:
        """Seconds of the evaluation up to now."""
        return time.monotonic() - self._evaluation_started


def run_summary(
    module: FairFinetuner,
    results: GroupedFigures,
    clock: RunClock,
    *,
    points: Mapping[OperatingPoint, Mapping[str, VariantFigures]],
    distances: tuple[PromptDistance, ...] = (),
    named: Mapping[str, tuple[str, str]] = {},
) -> RunSummary:
    """Return the summary of a test.

    Args:
        module: the finetuned model.
        results: figures of every group and variant.
        clock: seconds that the run has taken.
        points: figures of every variant at further operating points.
        distances: what the distances that remain are made of.
        named: group of prompts that name a class -> the attribute and the class that they name.
    """
    after, main = module.variants[-1], main_figures(results)
    seconds = clock.evaluation_seconds
    with module.as_variant(after):
        adaptor = tensor_digest(module.adaptor.parameters())
    return RunSummary(
        before=main["original"],
        after=main[after],
        families={group: variants for group, variants in results.items() if group not in (MAIN, *named)},
        after_is=after,
        adaptor=adaptor,
        judge=module.models.judge,
        judge_is_trainer=module.models.audit_classifier is None,
        wall_seconds=clock.fit_seconds_before + seconds,
        fit_seconds=clock.fit_seconds_before,
        test_seconds=seconds,
        version=fairlit_version(),
        sampling=to_jsonable(asdict(module.sampling)),
        config=to_jsonable(module.describe()),
        operating_points=tuple(
            OperatingFigures(
                guidance_scale=point.guidance_scale,
                strength=point.strength,
                steps=point.steps,
                before=figures["original"],
                after=figures[after],
            )
            for point, figures in points.items()
        ),
        distances=distances,
        named_classes=tuple(
            NamedClass(
                attribute=attribute,
                label=label,
                before=results[group]["original"].distribution.attributes[attribute].frequencies[label],
                after=results[group][after].distribution.attributes[attribute].frequencies[label],
            )
            for group, (attribute, label) in named.items()
            if group in results
        ),
    )
