"""What tests name in configs: finetuners that see faces in noise, and callbacks that kill the process or spoil a step.

Random tiny models draw no faces that MTCNN would find. Everything but the detector is what users run.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from fairlit.faces import FaceClassifier, FaceDetector, Faces
from fairlit.training import FairFinetuner
from fairlit.training.distributed import ranks
from fairlit.training.finetuning.frozen_models import FrozenModels


class MiddleFaces(FaceDetector):
    """Takes the middle of an image for a face where its left half is redder than its right."""

    @torch.no_grad()
    def forward(self, images: Tensor) -> Faces:
        height, width = images.shape[-2:]
        left, right = images[:, 0].split([width // 2, width - width // 2], dim=-1)
        index = (left.mean(dim=(1, 2)) > right.mean(dim=(1, 2))).nonzero().flatten()
        box = images.new_tensor([0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height])
        points = images.new_tensor([[0.4, 0.4], [0.6, 0.4], [0.5, 0.5], [0.42, 0.6], [0.58, 0.6]])
        landmarks = points * images.new_tensor([width, height])
        count = len(index)
        return Faces(index, box.expand(count, 4), images.new_ones(count), landmarks.expand(count, 5, 2), len(images))


class Untested(FaceClassifier):
    """Says nothing of its errors, and cannot be built."""


class Unlearnt(FaceClassifier):
    """Takes every face for a woman's, and says so."""

    classes = {"gender": ("female", "male")}  # noqa: RUF012
    temperature = {"gender": 1.0}  # noqa: RUF012
    size = 8

    @property
    def confusion(self) -> dict[str, Tensor]:
        return {"gender": torch.tensor([[29, 0], [43, 0]])}

    def forward(self, faces: Tensor) -> dict[str, Tensor]:
        return {"gender": faces.new_tensor([[1.0, 0.0]]).expand(len(faces), 2)}

    def classify(self, images: Tensor, faces: Faces) -> dict[str, Tensor]:
        return self(images[faces.image_index])


class ModelsSeeingFaces(FrozenModels):
    """Finds a face in about every second image of noise."""

    def load_detector(self) -> FaceDetector:
        return MiddleFaces()


class FinetunerSeeingFaces(FairFinetuner):
    """Finds a face in about every second image of noise."""

    def configure_models(self) -> FrozenModels:
        return ModelsSeeingFaces(self.models, self.detection, self.sampling)


class FacesInOddImages(MiddleFaces):
    """Sees no face in every second image, which of two processes is all that the first one has."""

    def forward(self, images: Tensor) -> Faces:
        faces = super().forward(images)
        odd = faces.image_index % 2 == 1 if ranks.world_size() == 1 else faces.image_index >= 0
        return faces.select(odd if ranks.world_size() == 1 or ranks.rank() == 1 else ~odd)


class HalfBlindModels(FrozenModels):
    """Finds no face in the images of the first of two processes."""

    def load_detector(self) -> FaceDetector:
        return FacesInOddImages()


class FinetunerHalfBlind(FairFinetuner):
    """Finds no face in the images of the first of two processes."""

    def configure_models(self) -> FrozenModels:
        return HalfBlindModels(self.models, self.detection, self.sampling)


class SpoilBatches(L.Callback):
    """In some batches (numbers from 0) the last rank's decoder overflows, as half precision may."""

    def __init__(self, batches: list[int]) -> None:
        self.batches = batches
        self.hooks: list[Any] = []

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx in self.batches and ranks.rank() == ranks.world_size() - 1:
            decoder = pl_module.backbone.vae.decoder
            self.hooks = [decoder.register_forward_hook(lambda module, inputs, output: output * torch.nan)]

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        while self.hooks:
            self.hooks.pop().remove()


class KillAfterBatch(L.Callback):
    """The process dies, as by ``kill -9``, when batch number `batch` (from 0) has been trained on."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == self.batch:
            os.kill(os.getpid(), signal.SIGKILL)


class KillLastRank(KillAfterBatch):
    """The last of several processes dies so; the others live."""

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if ranks.rank() == ranks.world_size() - 1:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)


class KillInsideWrite(L.Callback):
    """The process dies when half the bytes of training checkpoint number `write` (from 1) are on disk."""

    def __init__(self, write: int) -> None:
        self.left = write

    def setup(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        whole_save = torch.save

        def save(content: Any, path: Any, *args: Any, **kwargs: Any) -> None:
            whole_save(content, path, *args, **kwargs)
            self.left -= 1
            if not self.left:
                os.truncate(path, Path(path).stat().st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)

        torch.save = save


class SignalBefore(L.Callback):
    """Sends the process a signal when a batch of a stage is about to start.

    Args:
        number: number of the signal.
        stage: train, validation or test.
        batch: number of the batch, from 0, over all epochs.
    """

    def __init__(self, number: int, stage: str, batch: int = 0) -> None:
        self.number, self.stage, self.left = number, stage, batch

    def _count(self, stage: str) -> None:
        if stage == self.stage:
            self.left -= 1
            if self.left == -1:
                os.kill(os.getpid(), self.number)

    def on_train_batch_start(self, *_: Any) -> None:
        self._count("train")

    def on_validation_batch_start(self, *_: Any) -> None:
        self._count("validation")

    def on_test_batch_start(self, *_: Any) -> None:
        self._count("test")


class LogsFigures(L.Callback):
    """Logs a figure of validation, ``val/made``, that is given for each step."""

    def __init__(self, figures: list[float]) -> None:
        self.figures = figures

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        pl_module.log("val/made", self.figures[trainer.global_step - 1])
