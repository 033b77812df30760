"""Measures validation and test images with the auditing classifier, and shows them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn

from fairlit.callbacks.evaluation.distances import DistanceMeasurement
from fairlit.callbacks.evaluation.grouping import MAIN, PromptGroups
from fairlit.callbacks.evaluation.logging import logged_figures
from fairlit.callbacks.evaluation.measurement import Measurements
from fairlit.callbacks.evaluation.pictures import (
    EvaluationPicture,
    save_curves,
    save_picture,
    test_titles,
    validation_titles,
)
from fairlit.callbacks.evaluation.printing import Report, print_report, test_report, validation_report
from fairlit.callbacks.evaluation.summary import RunClock, run_summary
from fairlit.callbacks.required_module import required_module
from fairlit.data import PromptBatch
from fairlit.errors import ConfigurationError
from fairlit.results.distances import PromptDistance
from fairlit.results.run import GroupedFigures, RunSummary, ValidationResults
from fairlit.training import FairFinetuner, Generated
from fairlit.training.finetuning.operating_points import OperatingPoint, operating_points
from fairlit.training.run_checkpoints import is_trial

_LOG = logging.getLogger(__name__)


class FaceEvaluation(L.Callback):
    """Figures, picture grids and, after a test, the summary.

    Validation logs mean figures of every variant of the model and a picture to the logger, and writes the picture and
    all figures, prompt by prompt, to ``validation/step_<step>.png`` and ``.json``. A test writes ``before_after.png``,
    a picture of every prompt into ``before_after``, ``summary.json`` and, where it measured at several guidance scales,
    strengths or numbers of solver steps, their curves as ``operating_points.png``, and prints a table. A `fast_dev_run`
    measures and writes nothing.

    Args:
        folder: where pictures and the summary go; null: the trainer's default root.
        picture_prompts: number of prompts in a picture.
        picture_images: number of images of each prompt and variant in a picture, and in the picture of a prompt.
    """

    def __init__(self, folder: str | None = None, picture_prompts: int = 6, picture_images: int = 8) -> None:
        if picture_prompts < 1 or picture_images < 1:
            raise ConfigurationError(
                f"picture_prompts, picture_images: got {picture_prompts}, {picture_images}; give at least 1 of each"
            )
        self.folder, self.picture_prompts, self.picture_images = folder, picture_prompts, picture_images
        self._clock = RunClock()
        self._report: Report = []
        self._reset()

    # -------------------------------------------------------------------- hooks

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the clock of training."""
        self._clock.start_fit()

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forgets the last validation."""
        self._reset()

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forgets what was measured before."""
        self._reset(every_prompt=True)

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: PromptBatch, *_: Any
    ) -> None:
        """Measures one prompt."""
        self._update(trainer, pl_module, outputs, batch=batch)

    def on_test_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: PromptBatch, *_: Any
    ) -> None:
        """Measures one prompt at every operating point; families beside those trained on at the usual one alone."""
        module = required_module(self, pl_module, FairFinetuner)
        usual, *others = operating_points(module.sampling)
        group = self._update(trainer, module, outputs[usual.name], batch=batch)
        target = batch.target.reorder(module.audit_classifier.classes)
        if group != MAIN:
            return
        self._measure_distances(module, batch, outputs)
        for point in others:
            self._points.setdefault(point, Measurements()).update(MAIN, batch, outputs[point.name], target)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Logs mean figures and a picture; writes both, and the figures of every prompt, to files."""
        results = self._measurements.compute()
        if trainer.sanity_checking or is_trial(trainer):
            return
        self._log(pl_module, results, "val")
        if trainer.is_global_zero and isinstance(pl_module, FairFinetuner):
            path = self._root(trainer) / "validation" / f"step_{trainer.global_step:06d}.png"
            validating = trainer.state.fn == TrainerFn.VALIDATING
            if validating and path.exists():
                _LOG.info("replaced %s and %s, of an earlier validation", path, path.with_suffix(".json").name)
            drawn = self._picture.draw(validation_titles(self._picture.variants))
            picture = save_picture(drawn, path, trainer, tag="validation/before_after")
            groups = {"all" if group == MAIN else group: found for group, found in results.items()}
            ValidationResults(groups=groups).write(path.with_suffix(".json"))
            if validating:
                self._report = validation_report(pl_module, results, picture)

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Logs figures, writes picture and summary, prints the table."""
        results = self._measurements.compute()
        points = {point: measured.compute()[MAIN] for point, measured in self._points.items()}
        distances: tuple[PromptDistance, ...] = ()
        if self._distances is not None and isinstance(pl_module, FairFinetuner):
            distances = self._distances.compute(results[MAIN][pl_module.variants[-1]].distribution)
        if is_trial(trainer):
            return
        self._log(pl_module, results, "test")
        self._log(pl_module, {point.name: figures for point, figures in points.items()}, "operating_points")
        if trainer.is_global_zero and isinstance(pl_module, FairFinetuner):
            titles, root = test_titles(self._picture.variants), self._root(trainer)
            drawn = self._picture.draw(titles)
            picture = save_picture(drawn, root / "before_after.png", trainer, tag="test/before_after")
            of_prompts = self._picture.save_prompts(root / "before_after", titles, results)
            summary = run_summary(
                pl_module,
                results,
                self._clock,
                points=points,
                distances=distances,
                named=trainer.datamodule.named_families,  # type: ignore[attr-defined]
            )
            path = self.summary_path(trainer)
            if path.exists():
                _LOG.info("replaced %s and %s, of an earlier test", path, picture)
            summary.write(path)
            pictures = [picture, of_prompts, *save_curves(root, summary, trainer)]
            self._report = test_report(pl_module, summary, pictures, path=path)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Prints the table of `fairlit validate`, after the progress bar has closed."""
        self._print()

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Prints the table, after the progress bar has closed."""
        self._print()

    # ------------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        """Seconds that training has taken, over all resumes."""
        return {"fit_seconds": self._clock.fit_seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on counting from there."""
        self._clock.resume(float(state_dict["fit_seconds"]))

    # --------------------------------------------------------------- machinery

    def _reset(self, *, every_prompt: bool = False) -> None:
        self._measurements, self._groups = Measurements(), PromptGroups()
        self._points: dict[OperatingPoint, Measurements] = {}
        self._distances: DistanceMeasurement | None = None
        self._picture = EvaluationPicture(self.picture_prompts, self.picture_images, every_prompt=every_prompt)
        self._clock.start_evaluation()

    def _update(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Mapping[str, Generated], *, batch: PromptBatch
    ) -> str:
        """Measure one prompt, and return the group that it is reported under."""
        module = required_module(self, pl_module, FairFinetuner)
        target = batch.target.reorder(module.audit_classifier.classes)
        group = self._groups.name(batch, trainer.datamodule)  # type: ignore[attr-defined]
        self._measurements.update(group, batch, outputs, target)
        self._picture.add(batch, outputs, target)
        return group

    def _measure_distances(
        self, module: FairFinetuner, batch: PromptBatch, outputs: Mapping[str, Mapping[str, Generated]]
    ) -> None:
        usual, *others = operating_points(module.sampling)
        after = module.variants[-1]
        if outputs[usual.name][after].trained_against is None:
            return
        sampling = module.sampling
        fewer = [one for one in others if one.steps and sampling.min_steps <= one.steps <= sampling.max_steps]
        if self._distances is None:
            target = batch.target.reorder(module.frozen.classifier.classes)
            self._distances = DistanceMeasurement(target, outputs[usual.name][after].images.device)
        at_training_steps = outputs[fewer[0].name][after] if fewer else None
        self._distances.update(batch, outputs[usual.name][after], at_training_steps)

    def _log(self, module: L.LightningModule, results: GroupedFigures, stage: str) -> None:
        for tag, value in logged_figures(results, stage).items():
            module.log(tag, value, sync_dist=False)

    def _print(self) -> None:
        report, self._report = self._report, []  # empty: validation within training, or another process prints
        print_report(report)

    def summary_path(self, trainer: L.Trainer) -> Path:
        """Where a test writes its figures."""
        return self._root(trainer) / RunSummary.FILE

    def _root(self, trainer: L.Trainer) -> Path:
        return Path(self.folder or trainer.default_root_dir)
