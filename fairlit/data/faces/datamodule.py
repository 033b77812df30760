"""Face crops with labels of perceived attributes, for training classifiers: what all their sources have in common."""

from __future__ import annotations

import csv
import io
from abc import ABC, abstractmethod
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

from fairlit.data.faces.augmentation import FaceAugmentation
from fairlit.errors import ConfigurationError, Problems
from fairlit.faces.class_merging import Classes, class_names, class_of_label, merge_problems
from fairlit.faces.classifier_config import class_problems
from fairlit.io.file_status import regular_files
from fairlit.io.text_files import read_text
from fairlit.pictures.files import UnreadableImageError, read_image

SPLITS = ("train", "val", "test")
UNLABELLED = -100  # what torch's cross-entropy leaves out
LISTED = 5  # examples in a message
MAX_TABLE_BYTES = 500_000_000

Window = tuple[int, int, int, int]
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class LabelledFile:
    """One image on disk: its path, its split and, for each attribute in order, the class index or `UNLABELLED`."""

    path: Path
    split: str
    labels: tuple[int, ...]


class LabelledFacesDataset(Dataset[Batch]):
    """Images as uint8 [3, s, s] and labels as int64 [A].

    Args:
        files: What to read.
        image_size: Side to which images are brought, in pixels.
        cache: Keep decoded images in memory: for small images.
        window: Left, top, right and bottom of the part of each image that is looked at, in pixels; None: all of it.
    """

    def __init__(
        self, files: Sequence[LabelledFile], image_size: int, cache: bool = False, *, window: Window | None = None
    ) -> None:
        self.files, self.image_size, self.window = list(files), image_size, window
        self._cache: dict[int, Tensor] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Batch:
        labels = torch.tensor(self.files[index].labels)
        if self._cache is None:
            return self._read(index), labels
        if index not in self._cache:
            self._cache[index] = self._read(index)
        return self._cache[index], labels

    def _read(self, index: int) -> Tensor:
        path = self.files[index].path
        try:
            image = Image.fromarray(read_image(path).permute(1, 2, 0).numpy())
        except UnreadableImageError as error:
            raise ConfigurationError(
                f"{path}: got a file that cannot be read ({error}); expected an image; replace it or drop its row"
            ) from error
        if self.window is not None:
            if self.window[2] > image.width or self.window[3] > image.height:
                raise ConfigurationError(
                    f"window is {self.window}, beyond {path} of {image.width} x {image.height} pixels: correct it"
                )
            image = image.crop(self.window)
        size = (self.image_size, self.image_size)
        if image.size != size:
            image = image.resize(size, Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


class FaceDataModule(lightning.LightningDataModule, ABC):
    """Batches of (faces float [N, 3, s, s] in [0, 1], labels int64 [N, A]) out of labelled files.

    Labels are class indices in the order of `classes`, `UNLABELLED` where there is none.

    Args:
        classes: Attribute -> its classes: a list of labels, or class -> the labels that are merged into it.
        image_size: Side to which images are brought, in pixels.
        batch_size: Images a step.
        augmentation: Strength of the random changes in training; 0 for none.
        num_workers: Processes that read images.
        cache: Keep decoded images in memory: for small images.
        window: Left, top, right and bottom of the part of each image that is looked at, in pixels; null: all of it.
    """

    def __init__(
        self,
        classes: Classes,
        image_size: int = 64,
        batch_size: int = 64,
        *,
        augmentation: float = 1.0,
        num_workers: int = 0,
        cache: bool = False,
        window: Window | None = None,
    ) -> None:
        super().__init__()
        with Problems("labelled faces") as problems:
            for problem in (*class_problems(classes), *merge_problems(classes)):
                problems.add(problem)
            for name, value, least in (
                ("image_size", image_size, 16),
                ("batch_size", batch_size, 1),
                ("augmentation", augmentation, 0),
                ("num_workers", num_workers, 0),
            ):
                if value < least:
                    problems.add(f"{name} is {value}: give {least} or more")
            if window is not None and not (0 <= window[0] < window[2] and 0 <= window[1] < window[3]):
                problems.add(f"window is {list(window)}: give left, top, right and bottom in pixels")
        self.classes, self.window = classes, window
        self.image_size, self.batch_size, self.num_workers, self.cache = image_size, batch_size, num_workers, cache
        self.augmentation = FaceAugmentation(max(augmentation, 0.0))
        self._datasets: dict[str, LabelledFacesDataset] = {}

    @property
    def class_names(self) -> dict[str, tuple[str, ...]]:
        """Class names of each attribute, in the order of the label indices."""
        return class_names(self.classes)

    @abstractmethod
    def read(self) -> list[LabelledFile]:
        """Reads and checks all labels.

        Raises:
            ConfigurationError: Naming everything that is wrong with them.
        """

    def check(self, problems: Problems, stage: str = "fit") -> None:
        """Notes what is wrong with the files and labels, and splits and classes without images that `stage` needs."""
        try:
            files = self.read()
        except ConfigurationError as error:
            problems.add(str(error))
            return
        for split in {"fit": ("train", "val"), "validate": ("val",)}.get(stage, ("test",)):
            chosen = [file for file in files if file.split == split]
            if not chosen:
                problems.add(f"no row has split {split!r}, which {stage} needs: give some rows that split")
            elif split == "train":
                for index, (attribute, names) in enumerate(self.class_names.items()):
                    seen = {file.labels[index] for file in chosen}
                    for absent in (name for number, name in enumerate(names) if number not in seen):
                        problems.add(f"no training image has {attribute} {absent!r}: give some, or drop the class")
        for split in SPLITS:
            chosen = [file for file in files if file.split == split]
            self._datasets[split] = LabelledFacesDataset(chosen, self.image_size, self.cache, window=self.window)

    def setup(self, stage: str) -> None:
        """Reads and checks the labels, once."""
        if not self._datasets:
            with Problems("labelled faces") as problems:
                self.check(problems, stage)

    def class_counts(self, split: str) -> dict[str, dict[str, int]]:
        """Images of each class of each attribute in one split, after `setup`."""
        files = self._datasets[split].files
        counts = [Counter(file.labels[index] for file in files) for index in range(len(self.classes))]
        return {
            attribute: {name: counts[index][number] for number, name in enumerate(names)}
            for index, (attribute, names) in enumerate(self.class_names.items())
        }

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled batches; a last one that is smaller is dropped, unless it is the only one."""
        return self._loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation split in order."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        """The test split in order."""
        return self._loader("test")

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Turns uint8 into [0, 1] and, in training, changes the images at random, on the device."""
        faces, labels = to_floats(batch)
        training = self.trainer is not None and self.trainer.training
        return (self.augmentation(faces) if training else faces), labels

    def _loader(self, split: str, shuffle: bool = False) -> DataLoader[Batch]:
        dataset = self._datasets[split]
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            shuffle=shuffle,
            drop_last=shuffle and len(dataset) > self.batch_size,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )


def to_floats(batch: Batch) -> Batch:
    """A batch of the loaders with its images in [0, 1]."""
    faces, labels = batch
    return faces.float() / 255, labels


def read_table(path: Path, columns: Sequence[str], problems: Problems) -> list[dict[str, str]]:
    """The rows of a CSV file; a missing file, missing columns and an empty table are noted, and give no rows.

    Args:
        path: The file.
        columns: Columns that are needed; others may be there.
        problems: Where messages go.
    """
    if not path.is_file():
        problems.add(f"folder is {str(path.parent)!r}, which has no {path.name}: write one with {','.join(columns)}")
        return []
    if (cells := read_cells(path, problems)) is None:
        return []
    found, *lines = cells or [[]]
    rows = [dict(zip(found, [*line, *[""] * len(found)], strict=False)) for line in lines]
    missing = [column for column in columns if column not in found]
    for column in missing:
        problems.add(f"{path}: column {column!r} is missing, there are {', '.join(found) or 'none'}: add it")
    if not rows:
        problems.add(f"{path}: there is no row: add one for each image")
    return [] if missing else rows


def read_cells(path: Path, problems: Problems) -> list[list[str]] | None:
    """The cells of every line of a CSV file that has any; None, and a note, where it cannot be read.

    Args:
        path: The file.
        problems: Where messages go.
    """
    with problems.collecting():
        text = read_text(path, "a CSV file", MAX_TABLE_BYTES)
        try:
            return [row for row in csv.reader(io.StringIO(text, newline="")) if row]
        except csv.Error as error:
            problems.add(f"{path}: cannot be read ({error}): write it again")
    return None


def note_missing_files(paths: Sequence[Path], source: Path, problems: Problems) -> None:
    """Notes images that do not exist, in one message; lists each folder once, as there may be very many files."""
    there = {folder: regular_files(folder) for folder in {path.parent for path in paths}}
    missing = [str(path) for path in paths if path.name not in there[path.parent]]
    if missing:
        listed = ", ".join(missing[:LISTED]) + (", ..." if len(missing) > LISTED else "")
        problems.add(
            f"{source}: {len(missing)} of {len(paths)} files do not exist, or are not regular files ({listed}): "
            "copy them or drop their rows"
        )


def label_indices(
    rows: Sequence[Mapping[str, str]], classes: Classes, source: Path, *, problems: Problems
) -> list[tuple[int, ...]]:
    """Class indices of the rows of a table, in the order of the attributes; labels that belong to no class are noted.

    Args:
        rows: Attribute -> label; an empty label means that nobody labelled it.
        classes: As in a config.
        source: The table's file, begins every message.
        problems: Where messages go.
    """
    indices = {attribute: class_of_label(names) for attribute, names in classes.items()}
    for attribute, index in indices.items():
        strange = Counter(row[attribute] for row in rows if row[attribute] and row[attribute] not in index)
        for label, count in strange.items():
            known = ", ".join(map(repr, index))
            problems.add(
                f"{source}: {attribute!r} is {label!r} in {count} rows, which classes.{attribute} leaves out "
                f"(it has {known}): put it into a class"
            )
    return [tuple(index.get(row[name], UNLABELLED) for name, index in indices.items()) for row in rows]
