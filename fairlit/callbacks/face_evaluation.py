"""Measures validation and test images with the auditing classifier, and shows them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from rich.console import Console

from fairlit.adaptors.model_card import SUMMARY_FILE
from fairlit.data import PromptBatch, PromptDataModule
from fairlit.errors import ConfigurationError
from fairlit.faces.observation import Observation
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.io.atomic import atomic_path, atomic_write_text
from fairlit.io.digests import fairlit_version, tensor_digest
from fairlit.metrics import AttributeDistribution, SemanticSimilarity, to_jsonable
from fairlit.pictures.comparison import PictureRow, comparison_picture, picture_tensor
from fairlit.results.tables import results_table
from fairlit.training import FairFinetuner, Generated

_TITLES = {"original": "before", "finetuned": "after", "ema": "after (moving average)"}


class _Measurement:
    """Metrics of one variant of the model over the prompts of one target."""

    def __init__(self, target: TargetDistribution, device: torch.device) -> None:
        self.distribution = AttributeDistribution(target).to(device)
        self.semantics = SemanticSimilarity().to(device)

    def update(self, index: int, generated: Generated, original: Generated) -> None:
        prompt_index = torch.full((len(generated.images),), index, device=generated.images.device)
        faces = generated.observation.faces
        self.distribution.update(prompt_index, generated.observation.probabilities, faces.image_index)
        texts = generated.text_features
        self.semantics.update(
            prompt_index,
            clip=generated.features.get("clip"),
            clip_texts=None if texts is None else texts.expand(len(prompt_index), -1),
            clip_originals=original.features.get("clip"),
            dino=generated.features.get("dino"),
            dino_originals=original.features.get("dino"),
        )

    def compute(self) -> dict[str, Any]:
        return {**self.semantics.compute(), **self.distribution.compute()}


class FaceEvaluation(L.Callback):
    """Figures, picture grids and, after a test, the summary.

    Validation logs mean figures of every variant of the model and a picture to the logger, and writes the picture and
    all figures, prompt by prompt, to ``validation/step_<step>.png`` and ``.json``. A test writes ``before_after.png``
    and ``summary.json`` and prints a table.

    Args:
        folder: where pictures and the summary go; null: the trainer's default root.
        picture_prompts: prompts in a picture.
        picture_images: images of each prompt and variant in a picture.
    """

    def __init__(self, folder: str | None = None, picture_prompts: int = 6, picture_images: int = 8) -> None:
        if picture_prompts < 1 or picture_images < 1:
            raise ConfigurationError(
                f"picture_prompts, picture_images: got {picture_prompts}, {picture_images}; give at least 1 of each"
            )
        self.folder, self.picture_prompts, self.picture_images = folder, picture_prompts, picture_images
        self._measurements: dict[str, dict[str, _Measurement]] = {}
        self._groups: dict[tuple[str, TargetDistribution], str] = {}
        self._rows: list[PictureRow] = []
        self._prompts: dict[int, str] = {}
        self._report: list[Any] = []
        self._started = 0.0
        self._fit_started: float | None = None
        self._fit_seconds = 0.0

    # -------------------------------------------------------------------- hooks

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the clock of training."""
        self._fit_started = time.monotonic()

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forgets the last validation."""
        self._reset()

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forgets what was measured before."""
        self._reset()

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: PromptBatch, *_: Any
    ) -> None:
        """Measures one prompt."""
        self._update(trainer, pl_module, outputs, batch)

    def on_test_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: PromptBatch, *_: Any
    ) -> None:
        """Measures one prompt."""
        self._update(trainer, pl_module, outputs, batch)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Logs mean figures and a picture; writes both, and the figures of every prompt, to files."""
        results = self._compute()
        if trainer.sanity_checking:
            return
        self._log(pl_module, results, "val")
        if trainer.is_global_zero and isinstance(pl_module, FairFinetuner):
            picture = self._show(trainer, f"validation/step_{trainer.global_step:06d}.png", "validation")
            _write_json(picture.with_suffix(".json"), {group or "all": found for group, found in results.items()})
            if trainer.state.fn == TrainerFn.VALIDATING:
                columns = {_TITLES[variant]: figures for variant, figures in self._main(results).items()}
                self._report = [
                    results_table(to_jsonable(columns), self._title(pl_module, columns)),
                    f"picture  {picture}",
                ]

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Logs figures, writes picture and summary, prints the table."""
        results = self._compute()
        self._log(pl_module, results, "test")
        if trainer.is_global_zero and isinstance(pl_module, FairFinetuner):
            picture = self._show(trainer, "before_after.png", "test")
            summary = self._summary(pl_module, results)
            path = _write_json(self.summary_path(trainer), summary)
            columns = {name: summary[name] for name in ("before", "after")}
            self._report = [results_table(to_jsonable(columns), self._title(pl_module, columns))]
            for group, variants in summary["families"].items():
                columns = {"before": variants["original"], "after": variants[summary["after_is"]]}
                title = f"{group}: {self._title(pl_module, columns)}"
                self._report.append(results_table(to_jsonable(columns), title))
            self._report.append(f"picture  {picture}\nsummary  {path}")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Prints the table of `fairlit validate`, after the progress bar has closed."""
        self._print()

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Prints the table, after the progress bar has closed."""
        self._print()

    # ------------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        """Seconds that training has taken, over all resumes."""
        running = time.monotonic() - self._fit_started if self._fit_started is not None else 0.0
        return {"fit_seconds": self._fit_seconds + running}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on counting from there."""
        self._fit_seconds = float(state_dict["fit_seconds"])

    # --------------------------------------------------------------- machinery

    def _reset(self) -> None:
        self._measurements, self._groups, self._rows, self._prompts = {}, {}, [], {}
        self._started = time.monotonic()

    def _update(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Mapping[str, Generated], batch: PromptBatch
    ) -> None:
        if not isinstance(module, FairFinetuner):
            raise ConfigurationError(f"FaceEvaluation: works with FairFinetuner, got {type(module).__name__}")
        group = self._group(batch, trainer.datamodule)  # type: ignore[attr-defined]
        target = batch.target.reorder(module.audit_classifier.classes)
        for variant, generated in outputs.items():
            measurements = self._measurements.setdefault(group, {})
            if variant not in measurements:
                measurements[variant] = _Measurement(target, module.device)
            measurements[variant].update(batch.index, generated, outputs["original"])
        self._prompts[batch.index] = batch.prompt
        if len(self._rows) < self.picture_prompts:
            shown = {name: generated.images[: self.picture_images].cpu() for name, generated in outputs.items()}
            seen = {name: _first(generated, len(shown[name])) for name, generated in outputs.items()}
            self._rows.append(PictureRow(batch.prompt, shown, seen))
            self._classes = dict(target.classes)

    def _group(self, batch: PromptBatch, data: PromptDataModule) -> str:
        """What a prompt is reported under: "" with the run's own target and a family trained on, else the family.

        Further targets within a family are numbered.
        """
        if batch.target == data.target and batch.family in data.trained_families:
            return ""
        key = (batch.family, batch.target)
        if key not in self._groups:
            number = 1 + sum(family == batch.family for family, _ in self._groups)
            self._groups[key] = batch.family if number == 1 else f"{batch.family}_{number}"
        return self._groups[key]

    def _compute(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Group, see `_group` -> variant -> figures; every rank takes part."""
        results = {
            group: {variant: measurement.compute() for variant, measurement in measurements.items()}
            for group, measurements in self._measurements.items()
        }
        for variants in results.values():
            for figures in variants.values():
                for entry in figures["per_prompt"]:
                    entry["prompt"] = self._prompts[entry["prompt"]]
        return results

    def _log(self, module: L.LightningModule, results: Mapping[str, Mapping[str, Any]], stage: str) -> None:
        for group, variants in results.items():
            for variant, figures in variants.items():
                prefix = "/".join(part for part in (stage, group, variant) if part)
                blocks = {**figures["attributes"], "joint": figures["joint"]}
                for attribute, block in blocks.items():
                    for name in ("bias", "noise_floor", "tv"):
                        module.log(f"{prefix}/{name}/{attribute}", float(block[name]), sync_dist=False)
                for name in ("face_rate", "unsure", "clip_t", "clip_i", "dino"):
                    if name in figures:
                        module.log(f"{prefix}/{name}", float(figures[name]), sync_dist=False)

    def _show(self, trainer: L.Trainer, name: str, tag: str) -> Path:
        """Writes the picture of the measured prompts to a file and to TensorBoard."""
        last = list(self._rows[0].images)[-1]
        variants = list(self._rows[0].images) if tag == "validation" else ["original", last]
        titles = {variant: _TITLES[variant] for variant in variants}
        if tag == "test":
            titles[last] = "after"
        picture = comparison_picture(self._rows, self._classes, titles)
        path = self._root(trainer) / name
        with atomic_path(path) as temporary:
            picture.save(temporary)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(f"{tag}/before_after", picture_tensor(picture), trainer.global_step)
        return path

    def _summary(self, module: FairFinetuner, results: Mapping[str, Mapping[str, dict[str, Any]]]) -> dict[str, Any]:
        after = module.variants[-1]
        main = self._main(results)
        judged_by_trainer = module.models.audit_classifier is None
        seconds = time.monotonic() - self._started
        with module.as_variant(after):
            adaptor = tensor_digest(module.adaptor.parameters())
        return {
            "before": main["original"],
            "after": main[after],
            "families": {group: variants for group, variants in results.items() if group},
            "after_is": after,
            "adaptor": adaptor,
            "judge": module.models.audit_classifier or module.models.classifier,
            "judge_is_trainer": judged_by_trainer,
            "wall_seconds": self._fit_seconds + seconds,
            "fit_seconds": self._fit_seconds,
            "test_seconds": seconds,
            "version": fairlit_version(),
            "sampling": asdict(module.sampling),
            "config": module.describe(),
        }

    def _main(self, results: Mapping[str, Mapping[str, dict[str, Any]]]) -> Mapping[str, dict[str, Any]]:
        """Figures of the prompts trained for with the run's own target; of the first family where there are none."""
        return results.get("") or next(iter(results.values()))

    def _title(self, module: FairFinetuner, columns: Mapping[str, Mapping[str, Any]]) -> str:
        figures = next(iter(columns.values()))
        title = f"{figures['prompts']} prompts, {figures['images']} images each way, judged by "
        if module.models.audit_classifier is None:
            return title + "the classifier that was also trained against: take the figures with care"
        return title + str(module.models.audit_classifier)

    def _print(self) -> None:
        if not self._report:  # validation within training, or another process prints
            return
        console = Console()
        if not console.is_terminal:  # a log file has no width; do not break the table for its sake
            console = Console(width=140)
        console.print()
        for part in self._report:
            console.print(part, soft_wrap=isinstance(part, str))
        self._report = []

    def summary_path(self, trainer: L.Trainer) -> Path:
        """Where a test writes its figures."""
        return self._root(trainer) / SUMMARY_FILE

    def _root(self, trainer: L.Trainer) -> Path:
        return Path(self.folder or trainer.default_root_dir)


def _write_json(path: Path, content: Mapping[str, Any]) -> Path:
    return atomic_write_text(path, json.dumps(to_jsonable(content), indent=2, allow_nan=False) + "\n")


def _first(generated: Generated, count: int) -> Observation:
    """What was seen in the first images, on the CPU."""
    observation = generated.observation
    inside = observation.faces.image_index < count
    probabilities = {name: rows[inside].cpu() for name, rows in observation.probabilities.items()}
    return Observation(observation.faces.images(0, count).to("cpu"), probabilities)
