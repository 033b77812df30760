"""The picture of an evaluation: the same noise under every variant of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import lightning as L
from PIL import Image

from fairlit.callbacks.evaluation.image_logging import log_picture
from fairlit.data import PromptBatch
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.io.atomic import atomic_path
from fairlit.io.foreign_text import file_stem
from fairlit.pictures.comparison import comparison_picture
from fairlit.pictures.prompt_picture import prompt_picture
from fairlit.pictures.tiles import Classes, PictureRow
from fairlit.results.curves import CURVES_FILE, operating_curves
from fairlit.results.run import GroupedFigures, RunSummary
from fairlit.training import Generated

TITLES = {"original": "before", "finetuned": "after", "ema": "after (moving average)"}


class EvaluationPicture:
    """Collects the first images of prompts, as large as pictures show them.

    Args:
        prompts: number of prompts in the picture of the first prompts.
        images: number of images of each prompt and variant.
        every_prompt: whether each prompt gets a picture of its own too.
    """

    def __init__(self, prompts: int, images: int, *, every_prompt: bool = False) -> None:
        self.prompts, self.images, self.every_prompt = prompts, images, every_prompt
        self._rows: list[PictureRow] = []
        self._numbers: list[int] = []
        self._classes: list[Classes] = []

    def add(self, batch: PromptBatch, outputs: Mapping[str, Generated], target: TargetDistribution) -> None:
        """Add the images of a prompt while there is room.

        Args:
            batch: the prompt.
            outputs: variant of the model -> its images.
            target: target distribution, classes in the order of the predictions.
        """
        if len(self._rows) < self.prompts or self.every_prompt:
            images = {name: generated.images for name, generated in outputs.items()}
            seen = {name: generated.observation for name, generated in outputs.items()}
            self._rows.append(PictureRow(batch.prompt, images, seen).reduced(self.images))
            self._numbers.append(batch.index)
            self._classes.append(target.classes)

    @property
    def variants(self) -> list[str]:
        """Variants of the model in the picture, in their order."""
        return list(self._rows[0].images)

    def draw(self, titles: Mapping[str, str]) -> Image.Image:
        """Return the picture of the first prompts.

        Args:
            titles: variants to show -> their titles.
        """
        return comparison_picture(self._rows[: self.prompts], self._classes[0], dict(titles))

    def save_prompts(self, folder: Path, titles: Mapping[str, str], results: GroupedFigures) -> Path:
        """Write a picture of every prompt, which take the places of those of an earlier test, and return the folder.

        Args:
            folder: folder of the pictures.
            titles: variants to show -> their titles.
            results: figures of every group and variant.
        """
        figures = {
            (variant, entry.number): entry
            for variants in results.values()
            for variant, own in variants.items()
            for entry in own.distribution.per_prompt
        }
        written = set()
        for number, row, classes in zip(self._numbers, self._rows, self._classes, strict=True):
            own = {variant: figures[variant, number] for variant in titles}
            path = folder / f"{number:03d}_{file_stem(row.prompt)}.png"
            with atomic_path(path) as temporary:
                prompt_picture(row, classes, titles, own).save(temporary)
            written.add(path)
        for earlier in set(folder.glob("[0-9][0-9][0-9]_*.png")) - written:
            earlier.unlink()
        return folder


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
