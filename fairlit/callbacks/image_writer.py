"""What ``fairlit predict`` gives: images on disk, and a list of what each of them is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L

from fairlit.callbacks.required_module import required_module
from fairlit.data import PromptBatch
from fairlit.faces.observation import Observation
from fairlit.io.digests import fairlit_version
from fairlit.io.wording import counted
from fairlit.pictures.files import save_png
from fairlit.pictures.manifest import folder_name, write_manifest
from fairlit.results.manifest import ManifestEntry
from fairlit.training import FairFinetuner, Generated
from fairlit.training.distributed import ranks
from fairlit.training.run_checkpoints import is_trial


class ImageWriter(L.Callback):
    """Writes predicted images as PNG, in one folder a prompt, and ``manifest.jsonl``, one line an image.

    A line holds ``file`` (relative to the manifest), ``prompt``, ``family``, ``noise_key``, and ``face``: null, or the
    ``box`` (left, top, right, bottom in pixels) and for each attribute the ``perceived`` class and its
    ``probability``. What is perceived is a classifier's guess from a drawn face; it errs.

    Nothing is written by a `fast_dev_run`.

    Args:
        folder: folder to write; null: ``images`` in the trainer's default root.
    """

    def __init__(self, folder: str | None = None) -> None:
        self.folder = folder
        self._lines: list[dict[str, Any]] = []

    def on_predict_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begins a new list."""
        self._lines = []

    def on_predict_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Generated, batch: PromptBatch, *_: Any
    ) -> None:
        """Writes this rank's images of one prompt."""
        module = required_module(self, pl_module, FairFinetuner)
        if is_trial(trainer):
            return
        root = self.images_folder(trainer)
        seen = describe_faces(outputs.observation.to("cpu"), module.audit_classifier.classes)
        numbers = ranks.share_of_rank(range(len(batch.keys)))
        for number, image, face in zip(numbers, outputs.images, seen, strict=True):
            file = Path(folder_name(batch.index, batch.prompt)) / f"{number:04d}.png"
            made = {"prompt": batch.prompt, "family": batch.family, "noise_key": list(batch.keys[number])}
            save_png(image, root / file, made | {"version": fairlit_version()})
            self._lines.append({"file": file.as_posix(), **made, "face": face})

    def on_predict_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the list of the images of all ranks."""
        lines = sorted(ranks.gather_items(self._lines), key=lambda line: str(line["file"]))
        if trainer.is_global_zero and not is_trial(trainer):
            path = write_manifest(self.images_folder(trainer), map(ManifestEntry.from_json, lines))
            print(f"{counted(len(lines), 'image')}  {path}")

    def images_folder(self, trainer: L.Trainer) -> Path:
        """Return the folder that images are written to."""
        return Path(self.folder or Path(trainer.default_root_dir) / "images")


def describe_faces(observation: Observation, classes: dict[str, tuple[str, ...]]) -> list[dict[str, Any] | None]:
    """Where the face of each image is and how it is perceived, as plain data; None where there is none.

    Where several faces count, the largest comes first and the rest stand under `others`.

    Args:
        observation: of N images.
        classes: class names of each attribute, in the order of the observation's columns.
    """
    described: list[dict[str, Any] | None] = [None] * observation.faces.num_images
    for face, image in enumerate(observation.faces.image_index.tolist()):
        attributes = {}
        for name, names in classes.items():
            probability, label = observation.probabilities[name][face].max(dim=0)
            attributes[name] = {"perceived": names[int(label)], "probability": round(float(probability), 4)}
        box = [round(float(side), 2) for side in observation.faces.boxes[face]]
        found = {"box": box, "attributes": attributes}
        if (largest := described[image]) is None:
            described[image] = found
        else:
            largest.setdefault("others", []).append(found)
    return described
