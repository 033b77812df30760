"""The picture of an evaluation: the same noise under every variant of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import lightning as L
from PIL import Image

from fairlit.callbacks.evaluation.image_logging import log_picture
from fairlit.data import PromptBatch
from fairlit.faces.observation import Observation
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.io.atomic import atomic_path
from fairlit.pictures.comparison import PictureRow, comparison_picture
from fairlit.results.curves import CURVES_FILE, operating_curves
from fairlit.results.run import RunSummary
from fairlit.training import Generated

TITLES = {"original": "before", "finetuned": "after", "ema": "after (moving average)"}


class EvaluationPicture:
    """Collects the first images of the first prompts.

    Args:
        prompts: number of prompts in the picture.
        images: number of images of each prompt and variant.
    """

    def __init__(self, prompts: int, images: int) -> None:
        self.prompts, self.images = prompts, images
        self._rows: list[PictureRow] = []
        self._classes: dict[str, tuple[str, ...]] = {}

    def add(self, batch: PromptBatch, outputs: Mapping[str, Generated], target: TargetDistribution) -> None:
        """Add the images of a prompt while there is room.

        Args:
            batch: the prompt.
            outputs: variant of the model -> its images.
            target: target distribution, classes in the order of the predictions.
        """
        if len(self._rows) < self.prompts:
            shown = {name: generated.images[: self.images].cpu() for name, generated in outputs.items()}
            seen = {name: _first(generated, len(shown[name])) for name, generated in outputs.items()}
            self._rows.append(PictureRow(batch.prompt, shown, seen))
            self._classes = dict(target.classes)

    @property
    def variants(self) -> list[str]:
        """Variants of the model in the picture, in their order."""
        return list(self._rows[0].images)

    def draw(self, titles: Mapping[str, str]) -> Image.Image:
        """Return the picture.

        Args:
            titles: variants to show -> their titles.
        """
        return comparison_picture(self._rows, self._classes, dict(titles))


def validation_titles(variants: Sequence[str]) -> dict[str, str]:
    """Return the titles of all variants."""
    return {variant: TITLES[variant] for variant in variants}


def test_titles(variants: Sequence[str]) -> dict[str, str]:
    """Return the titles of the unchanged model and of the last variant, which is the one that counts."""
    return {"original": TITLES["original"], variants[-1]: "after"}


def save_picture(picture: Image.Image, path: Path, trainer: L.Trainer, *, tag: str) -> Path:
    """Write a picture to a file and to the loggers, and return the file's path.

    Args:
        picture: the picture.
        path: path of the file.
        trainer: trainer with the loggers.
        tag: name of the picture for the loggers.
    """
    with atomic_path(path) as temporary:
        picture.save(temporary)
    log_picture(trainer.loggers, tag, picture, step=trainer.global_step)
    return path


def save_curves(folder: Path, summary: RunSummary, trainer: L.Trainer) -> list[Path]:
    """Write the curves of a test to a file and to the loggers, or remove those of an earlier test.

    Args:
        folder: folder of the file.
        summary: summary of the test.
        trainer: trainer with the loggers.

    Returns:
        The file; empty where the test has no curves.
    """
    path = folder / CURVES_FILE
    if operating_curves(summary):
        from fairlit.pictures.operating_curves import draw_curves  # matplotlib takes its time

        return [save_picture(draw_curves(summary), path, trainer, tag="test/operating_points")]
    path.unlink(missing_ok=True)
    return []


def _first(generated: Generated, count: int) -> Observation:
    """What was seen in the first images, on the CPU."""
    observation = generated.observation
    inside = observation.faces.image_index < count
    probabilities = {name: rows[inside].cpu() for name, rows in observation.probabilities.items()}
    return Observation(observation.faces.images(0, count).to("cpu"), probabilities)
