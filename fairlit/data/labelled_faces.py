"""Face crops with labels of perceived attributes, for training classifiers.

A folder holds images of faces and `labels.csv`: the columns `file` (path within the folder), `split` (train, val or
test) and one for each attribute with class names; an empty cell means that nobody labelled that attribute.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from fairlit.errors import ConfigurationError, Problems

LABELS_NAME = "labels.csv"
SPLITS = ("train", "val", "test")
UNLABELLED = -100  # what torch's cross-entropy leaves out
LISTED = 5  # missing files named in a message


@dataclass(frozen=True)
class LabelledFile:
    """One image on disk: its path, its split and, for each attribute in order, the class index or `UNLABELLED`."""

    path: Path
    split: str
    labels: tuple[int, ...]


def read_labels(folder: str | Path, classes: Mapping[str, Sequence[str]]) -> list[LabelledFile]:
    """Reads and checks `labels.csv`.

    Args:
        folder: Where `labels.csv` and the images are.
        classes: Class names of each attribute that is wanted; further columns are ignored.

    Returns:
        One entry a row.

    Raises:
        ConfigurationError: Naming every missing column, unknown class or split, and missing file.
    """
    root = Path(folder)
    path = root / LABELS_NAME
    if not path.is_file():
        raise ConfigurationError(f"folder is {str(root)!r}, which has no {LABELS_NAME}: write one with file,split,...")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows, columns = list(reader), reader.fieldnames or []
    with Problems(str(path)) as problems:
        for column in ("file", "split", *classes):
            if column not in columns:
                problems.add(f"column {column!r} is missing, there are {', '.join(columns) or 'none'}: add it")
        if not rows:
            problems.add("there is no row: add one for each image")
    with Problems(str(path)) as problems:
        for column, names in {"split": SPLITS, **classes}.items():
            allowed = {*names} if column == "split" else {*names, ""}
            for value, count in Counter(row[column] for row in rows if row[column] not in allowed).items():
                problems.add(f"{column!r} is {value!r} in {count} rows: give one of {', '.join(names)}")
        missing = [row["file"] for row in rows if not (root / row["file"]).is_file()]
        if missing:
            listed = ", ".join(missing[:LISTED]) + (", ..." if len(missing) > LISTED else "")
            problems.add(f"{len(missing)} of {len(rows)} files do not exist ({listed}): copy them or drop their rows")
    return [
        LabelledFile(
            root / row["file"],
            row["split"],
            tuple(names.index(row[name]) if row[name] else UNLABELLED for name, names in _as_lists(classes).items()),
        )
        for row in rows
    ]


class LabelledFacesDataset(Dataset[tuple[Tensor, Tensor]]):
    """Images as uint8 [3, s, s] and labels as int64 [A].

    Args:
        files: What to read.
        image_size: Side to which images are brought, in pixels.
        cache: Keep decoded images in memory: for small images.
    """

    def __init__(self, files: Sequence[LabelledFile], image_size: int, cache: bool = False) -> None:
        self.files, self.image_size = list(files), image_size
        self._cache: dict[int, Tensor] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        labels = torch.tensor(self.files[index].labels)
        if self._cache is None:
            return self._read(index), labels
        if index not in self._cache:
            self._cache[index] = self._read(index)
        return self._cache[index], labels

    def _read(self, index: int) -> Tensor:
        path = self.files[index].path
        try:
            with Image.open(path) as opened:
                image = opened.convert("RGB")
        except OSError as error:
            raise ConfigurationError(
                f"{path} is not an image that opens ({error}): replace it or drop its row"
            ) from error
        size = (self.image_size, self.image_size)
        if image.size != size:
            image = image.resize(size, Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


class FaceAugmentation(torch.nn.Module):
    """Random changes that leave perceived attributes as they are, so that a classifier is harder to fool.

    Flip, small affine move, colour jitter, blur, noise. Generated faces are blurred and noisy in their own way, and a
    classifier that gives gradients must not have a cheap pattern to be satisfied by.

    Args:
        strength: Scales every change; 0 leaves images alone.
        group: Images that share one draw of the random numbers; more is faster, 1 is the most varied.
    """

    def __init__(self, strength: float = 1.0, group: int = 4) -> None:
        super().__init__()
        if strength < 0 or group < 1:
            raise ConfigurationError(f"strength is {strength}, group is {group}: give 0 or more, and 1 or more")
        self.strength, self.group = strength, group
        self.transform = v2.Compose(
            [
                v2.RandomHorizontalFlip(0.5),
                v2.RandomAffine(
                    degrees=10 * strength,
                    translate=(min(0.06 * strength, 1.0),) * 2,
                    scale=(1 / (1 + 0.12 * strength), 1 + 0.12 * strength),
                    interpolation=v2.InterpolationMode.BILINEAR,
                    fill=0.5,
                ),
                v2.ColorJitter(brightness=min(0.15 * strength, 1.0), contrast=0.15 * strength),
                v2.RandomApply([v2.GaussianBlur(3, sigma=(0.2, 0.2 + strength))], p=min(0.3 * strength, 1.0)),
            ]
        )

    def forward(self, faces: Tensor) -> Tensor:
        """Changes images.

        Args:
            faces: float [N, 3, s, s] in [0, 1].

        Returns:
            The same shape and range.
        """
        if self.strength == 0 or len(faces) == 0:
            return faces
        changed = torch.cat([self.transform(part) for part in faces.split(self.group)])
        level = 0.04 * self.strength * torch.rand(len(faces), 1, 1, 1, device=faces.device)
        return (changed + level * torch.randn_like(changed)).clamp(0, 1)


class LabelledFaces(lightning.LightningDataModule):
    """Batches of (faces float [N, 3, s, s] in [0, 1], labels int64 [N, A]) out of a labelled folder.

    Labels are class indices in the order of `classes`, `UNLABELLED` where there is none.

    Args:
        folder: Where `labels.csv` and the images are.
        classes: Class names of each attribute.
        image_size: Side to which images are brought, in pixels.
        batch_size: Images a step.
        augmentation: Strength of the random changes in training; 0 for none.
        num_workers: Processes that read images.
        cache: Keep decoded images in memory: for small images.
    """

    def __init__(
        self,
        folder: str,
        classes: dict[str, list[str]],
        image_size: int = 64,
        batch_size: int = 64,
        augmentation: float = 1.0,
        num_workers: int = 0,
        cache: bool = False,
    ) -> None:
        super().__init__()
        with Problems("labelled faces") as problems:
            for name, value, least in (
                ("image_size", image_size, 16),
                ("batch_size", batch_size, 1),
                ("augmentation", augmentation, 0),
                ("num_workers", num_workers, 0),
            ):
                if value < least:
                    problems.add(f"{name} is {value}: give {least} or more")
        self.folder, self.classes = folder, classes
        self.image_size, self.batch_size, self.num_workers, self.cache = image_size, batch_size, num_workers, cache
        self.augmentation = FaceAugmentation(augmentation)
        self._datasets: dict[str, LabelledFacesDataset] = {}

    def setup(self, stage: str) -> None:
        """Reads and checks `labels.csv` once."""
        if self._datasets:
            return
        files = read_labels(self.folder, self.classes)
        for split in SPLITS:
            chosen = [file for file in files if file.split == split]
            self._datasets[split] = LabelledFacesDataset(chosen, self.image_size, self.cache)
        needed = {"fit": ("train", "val"), "validate": ("val",)}.get(stage, ("test",))
        with Problems(f"{self.folder}/{LABELS_NAME}") as problems:
            for split in needed:
                if not len(self._datasets[split]):
                    problems.add(f"no row has split {split!r}, which {stage} needs: give some rows that split")

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Shuffled batches; a last one that is smaller is dropped, unless it is the only one."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """The validation split in order."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """The test split in order."""
        return self._loader("test")

    def on_after_batch_transfer(self, batch: tuple[Tensor, Tensor], dataloader_idx: int) -> tuple[Tensor, Tensor]:
        """Turns uint8 into [0, 1] and, in training, changes the images at random, on the device."""
        faces, labels = batch
        faces = faces.float() / 255
        training = self.trainer is not None and self.trainer.training
        return (self.augmentation(faces) if training else faces), labels

    def _loader(self, split: str, shuffle: bool = False) -> DataLoader[tuple[Tensor, Tensor]]:
        dataset = self._datasets[split]
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            shuffle=shuffle,
            drop_last=shuffle and len(dataset) > self.batch_size,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )


def _as_lists(classes: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {attribute: list(names) for attribute, names in classes.items()}
