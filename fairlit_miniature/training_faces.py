"""Trains the miniature's attribute classifiers and fills its face bank, on faces that the real detector found."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from rich.progress import Progress
from torch import Tensor

from fairlit.data.faces.labelled_folders import LabelledFaces
from fairlit.data.faces.labels_table import LABELS_NAME, LabelsRow, write_labels
from fairlit.faces.bank import FaceBank
from fairlit.faces.class_merging import Classes
from fairlit.faces.classifier import AttributeClassifier
from fairlit.faces.crops import crop_faces
from fairlit.faces.detector import FaceDetector, Faces
from fairlit.faces.embedding import ClassifierEmbedder
from fairlit.training.classifiers.trainer import AttributeClassifierTrainer
from fairlit_miniature.dataset import Drawings
from fairlit_miniature.world import ATTRIBUTES

MARGIN = 0.2  # shows the hair, hardly the clothes
CLASSES: Classes = {attribute: list(names) for attribute, names in ATTRIBUTES.items()}


@dataclass(frozen=True)
class Network:
    """One classifier: its architecture, a name in `fairlit.faces.architectures`, and its seed."""

    architecture: str
    arguments: dict[str, Any]
    input_size: int
    seed: int


TRAIN = Network("mobilenet_v3_small", {"width_mult": 0.6}, 64, 1)
# A second opinion to train against: a ResNet (He et al., CVPR 2016) of a quarter of the usual widths.
SECOND = Network(
    "transformers",
    {
        "model_type": "resnet",
        "embedding_size": 24,
        "hidden_sizes": [24, 48, 96, 160],
        "depths": [1, 1, 1, 1],
        "layer_type": "basic",
    },
    64,
    3,
)
AUDIT = Network("shufflenet_v2", {"stages_repeats": [2, 4, 2], "stages_out_channels": [24, 48, 96, 192, 256]}, 64, 2)
# Judges of faces that no word decides: the architectures of all three, from other initial weights.
PANEL = tuple(replace(network, seed=network.seed + 10) for network in (TRAIN, SECOND, AUDIT))


def build_detector() -> FaceDetector:
    """The real MTCNN, set for pictures of 64 pixels: enlarged twice."""
    return FaceDetector(min_size=20, scale=2.0, faces="largest")


def find_faces(detector: FaceDetector, images: Tensor, name: str, progress: Progress) -> Faces:
    """Detects chunk by chunk; images float [N, 3, H, W] in 0-1."""
    bar = progress.add_task(name, total=len(images))
    parts = []
    for chunk in images.split(64):
        parts.append(detector(chunk))
        progress.update(bar, advance=len(chunk))
    return Faces.concatenate(parts)


def class_indices(drawings: Drawings) -> Tensor:
    """Classes of the only person of each drawing: int64 [N, A], attributes in the world's order."""
    rows = [[names.index(scene.people[0][name]) for name, names in ATTRIBUTES.items()] for scene in drawings.scenes]
    return torch.tensor(rows)


@dataclass(frozen=True)
class Version:
    """Pictures of scenes with one person each, and where their faces are.

    Attributes:
        name: folder of the crops.
        split: train or val.
        labels: class of every attribute of the only person in each picture.
        pixels: uint8 [N, 3, 64, 64].
        faces: found in these pictures or in others of the same composition.
    """

    name: str
    split: str
    labels: Sequence[Mapping[str, str]]
    pixels: Tensor
    faces: Faces


def write_faces(folder: Path, versions: list[Version]) -> None:
    """Writes face crops and labels.csv, as `LabelledFaces` reads them; adds to those that are there."""
    table = folder / LABELS_NAME
    rows: list[LabelsRow] = []
    if table.exists():
        with table.open(newline="", encoding="utf-8") as stream:
            rows += [LabelsRow(row["file"], row, row["split"]) for row in csv.DictReader(stream)]
    for version in versions:
        place = folder / version.name
        place.mkdir(parents=True, exist_ok=True)
        crops = crop_faces(version.pixels.float() / 255.0, version.faces, 64, margin=MARGIN)
        bytes_ = (crops * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        for crop, index in zip(bytes_, version.faces.image_index.tolist(), strict=True):
            Image.fromarray(crop).save(place / f"{index:05d}.png", compress_level=1)
            rows.append(LabelsRow(f"{place.name}/{index:05d}.png", version.labels[index], version.split))
    write_labels(folder, list(ATTRIBUTES), rows)


@torch.no_grad()
def majority_labels(panel: Sequence[AttributeClassifier], images: Tensor, faces: Faces) -> list[dict[str, str]]:
    """What a panel of classifiers sees: the class of the highest mean probability, of every attribute.

    Args:
        panel: classifiers of the same attributes.
        images: float [N, 3, H, W] in 0-1.
        faces: at most one an image.

    Returns:
        Attribute -> class for each of the N images; empty where no face was found.
    """
    labels: list[dict[str, str]] = [{} for _ in images]
    probabilities = [
        {name: logits.softmax(dim=1) for name, logits in classifier.classify(images, faces).items()}
        for classifier in panel
    ]
    for name, classes in ATTRIBUTES.items():
        seen = torch.stack([one[name] for one in probabilities]).mean(dim=0).argmax(dim=1)
        for image, label in zip(faces.image_index.tolist(), seen.tolist(), strict=True):
            labels[image][name] = classes[label]
    return labels


class _Bar(lightning.Callback):
    """Shows a training's steps in the builder's own progress display."""

    def __init__(self, name: str, progress: Progress) -> None:
        self.name, self.progress = name, progress
        self.bar = progress.add_task(name)

    def on_train_batch_end(self, trainer: lightning.Trainer, *arguments: Any) -> None:
        """Moves the bar."""
        self.progress.update(self.bar, completed=trainer.global_step, total=trainer.estimated_stepping_batches)

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Shows the accuracies."""
        shown = [f"{value:.3f}" for name, value in trainer.callback_metrics.items() if "accuracy" in name]
        self.progress.update(self.bar, description=f"{self.name} (accuracy {' '.join(shown)})")


def train_classifier(
    network: Network, faces: Path, epochs: int, *, folder: Path, checkpoints: Path, progress: Progress
) -> None:
    """Trains one classifier as `fairlit.training` does for anybody's faces; writes it with how it did on validation.

    Args:
        network: architecture and seed.
        faces: what `write_faces` wrote.
        epochs: passes over the faces.
        folder: where the finished classifier goes.
        checkpoints: where the training's own checkpoints are kept; it resumes from the last one.
        progress: where to show a bar.
    """
    lightning.seed_everything(network.seed, verbose=False)
    data = LabelledFaces(str(faces), CLASSES, image_size=network.input_size, batch_size=64, cache=True)
    module = AttributeClassifierTrainer(
        CLASSES,
        network.architecture,
        network.arguments,
        input_size=network.input_size,
        crop_kind="box",
        crop_margin=MARGIN,
    )
    last = checkpoints / "last.ckpt"
    trainer = lightning.Trainer(
        max_epochs=epochs,
        logger=False,
        callbacks=[ModelCheckpoint(checkpoints, save_last=True), _Bar(network.architecture, progress)],
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(module, datamodule=data, ckpt_path=last if last.exists() else None, weights_only=True)
    module.calibrate(data.val_dataloader())
    module.export(folder)


def fill_bank(classifier: Path, drawings: Drawings, file: Path, *, progress: Progress) -> None:
    """Embeds the faces of held-out drawings with the training classifier's features and saves the bank."""
    embedder = ClassifierEmbedder(str(classifier))
    images = drawings.images(slice(None))
    faces = find_faces(build_detector(), images, "faces (bank)", progress)
    with torch.no_grad():
        embeddings = embedder(images, faces)
    labels = class_indices(drawings)[faces.image_index]
    by_attribute = {attribute: labels[:, column] for column, attribute in enumerate(ATTRIBUTES)}
    FaceBank(embeddings, embedder.identifier, ATTRIBUTES, labels=by_attribute).save(file)
