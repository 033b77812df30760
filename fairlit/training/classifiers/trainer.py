"""Trains a classifier of perceived attributes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, cast

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics.classification import MulticlassAccuracy

from fairlit.data.faces.datamodule import UNLABELLED, Batch, FaceDataModule, to_floats
from fairlit.errors import ConfigurationError, Problems
from fairlit.faces.architectures import ARCHITECTURES, pretrained_weights
from fairlit.faces.calibration import calibrate
from fairlit.faces.class_merging import Classes, class_names
from fairlit.faces.classifier import AttributeClassifier
from fairlit.faces.classifier_config import ClassifierConfig, CropSettings
from fairlit.faces.weights import load_weights
from fairlit.io.finiteness import require_finite

DOWNLOAD = "download"
BALANCED = "balanced"


class AttributeClassifierTrainer(lightning.LightningModule):
    """Cross-entropy summed over attributes, AdamW, cosine schedule; accuracy of every attribute on validation.

    Batches are (faces float [N, 3, s, s] in [0, 1], labels int64 [N, A]), labels in the order of `classes`, -100 where
    an attribute was not labelled.

    Args:
        classes: attribute -> its classes: a list of names, or class -> labels as the data have them.
        architecture: name of the network, one of `fairlit.faces.architectures.ARCHITECTURES`.
        architecture_args: arguments of torchvision's constructor.
        input_size: side of the faces that the network sees, in pixels.
        crop_kind: kind of crop that the training faces have and later ones will have: `box`, `aligned` or `chip`.
        crop_margin: margin of the crops, as a share of the box or template on each side.
        mean: mean of each colour channel, which is subtracted from images in [0, 1].
        std: standard deviation of each colour channel, by which it is then divided.
        pretrained: initial weights: a file with torchvision's ImageNet weights, whose last layer is left out, with
            ImageNet's mean and std; `download`, to fetch that file once; null: random weights.
        lr: peak learning rate.
        weight_decay: weight decay of AdamW; biases and normalisation layers have none.
        label_smoothing: share of the label's mass that is spread over all classes.
        warmup: share of the steps in which the rate rises to its peak.
        norm_momentum: share of a batch in the running statistics of batch normalisation. torchvision's MobileNets come
            with 0.01, at which the statistics still lag behind after a few hundred steps.
        class_weights: weight of each class in the loss, by attribute and class, 1 where not given; or `balanced`: every
            class weighs as much as the others together, by its share of the training images.

    Raises:
        ConfigurationError: Something in it is wrong; all of it is named.
    """

    def __init__(
        self,
        classes: Classes,
        architecture: str = "mobilenet_v3_small",
        architecture_args: dict[str, Any] | None = None,
        *,
        input_size: int = 64,
        crop_kind: str = "box",
        crop_margin: float = 0.0,
        mean: tuple[float, float, float] = (0.5, 0.5, 0.5),
        std: tuple[float, float, float] = (0.5, 0.5, 0.5),
        pretrained: str | None = None,
        lr: float = 3e-3,
        weight_decay: float = 1e-2,
        label_smoothing: float = 0.05,
        warmup: float = 0.1,
        norm_momentum: float = 0.1,
        class_weights: dict[str, dict[str, float]] | Literal["balanced"] | None = None,
    ) -> None:
        super().__init__()
        with Problems("classifier training") as problems:
            shares = {"label_smoothing": label_smoothing, "warmup": warmup, "norm_momentum": norm_momentum}
            _check_numbers({"lr": (lr, 1e-12), "weight_decay": (weight_decay, 0.0)}, shares, problems)
            _check_class_weights(class_weights, classes, problems)
        given = class_weights if isinstance(class_weights, dict) else {}
        self.save_hyperparameters()
        config = ClassifierConfig(
            class_names(classes),
            architecture,
            dict(architecture_args or {}),
            input_size,
            CropSettings(crop_kind, crop_margin),
            mean,
            std,
        )
        self.classifier = AttributeClassifier(config)
        for module in self.classifier.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = norm_momentum
        self.lr, self.weight_decay, self.warmup = lr, weight_decay, warmup
        self.label_smoothing, self.pretrained, self.balanced = label_smoothing, pretrained, class_weights == BALANCED
        self.accuracies = nn.ModuleList(
            MulticlassAccuracy(len(names), average="micro", ignore_index=UNLABELLED)
            for names in config.classes.values()
        )
        for index, (attribute, names) in enumerate(config.classes.items()):
            row = torch.tensor([given.get(attribute, {}).get(name, 1.0) for name in names])
            self.register_buffer(f"class_weights_{index}", row, persistent=False)

    def check(self, data: FaceDataModule | None, problems: Problems) -> None:
        """Note data whose labels mean something else, and weights to start from that are not there."""
        if self.pretrained == DOWNLOAD:
            architecture = self.classifier.config.architecture
            if pretrained_weights(architecture) is None or self.classifier.config.architecture_args:
                named = ", ".join(name for name in ARCHITECTURES if pretrained_weights(name) is not None)
                problems.add(
                    f"pretrained is {DOWNLOAD!r}, which there is without architecture_args only, for {named}: give null"
                )
        elif self.pretrained is not None and not Path(self.pretrained).is_file():
            problems.add(f"pretrained is {self.pretrained!r}, no file: give a file of weights, {DOWNLOAD!r} or null")
        if data is not None and list(data.class_names.items()) != list(self.classifier.classes.items()):
            problems.add(
                f"data.classes is {data.class_names} and model.classes is {self.classifier.classes}: give both the "
                "same, in the same order (their labels are mere numbers by the time they arrive)"
            )

    def prepare_data(self) -> None:
        """Download the weights to start from, where this was asked for and there are any."""
        with Problems("classifier training") as problems:
            self.check(None, problems)
        if self.pretrained == DOWNLOAD and self.trainer.training:
            self._downloaded()

    def setup(self, stage: str) -> None:
        """Refuse data that do not fit, and fill in what training starts from.

        Raises:
            ConfigurationError: The datamodule has other classes, or has them in another order; or there are no weights.
            CheckpointError: The weights to start from are of another network.
        """
        data = getattr(self.trainer, "datamodule", None)
        data = data if isinstance(data, FaceDataModule) else None
        with Problems("classifier training") as problems:
            self.check(data, problems)
        if stage != "fit":
            return
        if self.balanced:
            self._balance(data)
        if self.pretrained == DOWNLOAD:
            self.classifier.backbone.load_state_dict(self._downloaded())
        elif self.pretrained is not None:
            last = ARCHITECTURES[self.classifier.config.architecture].last_layer
            load_weights(self.classifier.backbone, Path(self.pretrained), prefixes_to_drop=(f"{last}.",))

    def _downloaded(self) -> dict[str, Tensor]:
        """Return the ImageNet weights of torchvision without their last layer, from its cache or the network."""
        architecture = self.classifier.config.architecture
        weights = pretrained_weights(architecture).get_state_dict(progress=True, check_hash=True)
        last = f"{ARCHITECTURES[architecture].last_layer}."
        return {name: tensor for name, tensor in weights.items() if not name.startswith(last)}

    def _balance(self, data: FaceDataModule | None) -> None:
        """Return the weights by which the classes of an attribute have the same mass among the training images."""
        if data is None:
            raise ConfigurationError(
                f"class_weights is {BALANCED!r}, which needs a FaceDataModule to count: give numbers"
            )
        for index, counts in enumerate(data.class_counts("train").values()):
            labelled = sum(counts.values())
            weights = [labelled / (len(counts) * max(1, count)) for count in counts.values()]
            self.get_buffer(f"class_weights_{index}").copy_(torch.tensor(weights))

    def forward(self, faces: Tensor) -> dict[str, Tensor]:
        """Return the logits of every attribute, [N, K], for float faces [N, 3, s, s] in [0, 1]."""
        return self.classifier(faces)

    def loss(self, logits: dict[str, Tensor], labels: Tensor) -> Tensor:
        """Return the sum over attributes of the mean cross-entropy of the samples that are labelled.

        Args:
            logits: For each attribute [N, K].
            labels: int64 [N, A].

        Returns:
            Scalar; an attribute that nobody labelled in this batch adds 0.
        """
        total = labels.new_zeros((), dtype=torch.float32)
        for index, values in enumerate(logits.values()):
            target = labels[:, index]
            weight = self.get_buffer(f"class_weights_{index}")
            summed = functional.cross_entropy(
                values, target, weight, ignore_index=UNLABELLED, label_smoothing=self.label_smoothing, reduction="sum"
            )
            mass = torch.where(target == UNLABELLED, 0.0, weight[target.clamp(min=0)]).sum()
            total = total + summed / mass.clamp(min=torch.finfo(mass.dtype).tiny)
        return total

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Take one step of cross-entropy."""
        faces, labels = batch
        loss = self.loss(self(faces), labels)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Log loss and accuracies on the validation split."""
        self._evaluate("val", batch)

    def test_step(self, batch: Batch, batch_index: int) -> None:
        """Log loss and accuracies on the test split."""
        self._evaluate("test", batch)

    def _evaluate(self, stage: str, batch: Batch) -> None:
        faces, labels = batch
        logits = self(faces)
        for attribute, rows in logits.items():
            require_finite(rows, f"classifier: logits of {attribute!r}")  # of which the first class would be made
        self.log(f"{stage}/loss", self.loss(logits, labels), batch_size=len(faces), sync_dist=True)
        for index, attribute in enumerate(logits):
            accuracy = cast(MulticlassAccuracy, self.accuracies[index])
            accuracy.update(logits[attribute], labels[:, index])
            self.log(f"{stage}/accuracy_{attribute}", accuracy, batch_size=len(faces), prog_bar=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return AdamW and its schedule: the rate rises linearly, then falls to zero along a cosine, step by step."""
        matrices = [parameter for parameter in self.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in self.parameters() if parameter.ndim <= 1]
        optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=self.lr,
        )
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        rising = max(1, round(steps * self.warmup))

        def factor(step: int) -> float:
            if step < rising:
                return (step + 1) / rising
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, steps - rising))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Fit temperatures and measure confusion on what a validation loader gives: uint8 images and labels."""
        calibrate(self.classifier, map(to_floats, batches))

    def export(self, folder: str | Path) -> None:
        """Write the classifier as `AttributeClassifier.load` reads it."""
        self.classifier.save(folder)


def _check_numbers(bounded: dict[str, tuple[float, float]], shares: dict[str, float], problems: Problems) -> None:
    """Note numbers below their bound (value, least), and shares outside [0, 1)."""
    for name, (value, least) in bounded.items():
        if not value >= least:
            problems.add(f"{name} is {value}: give {least:g} or more")
    for name, value in shares.items():
        if not 0 <= value < 1:
            problems.add(f"{name} is {value}: give a share in [0, 1)")


def _check_class_weights(
    class_weights: dict[str, dict[str, float]] | str | None, classes: Classes, problems: Problems
) -> None:
    """Note weights of unknown classes, negative ones, and words other than `balanced`."""
    if class_weights is None or class_weights == BALANCED:
        return
    if not isinstance(class_weights, dict):
        problems.add(f"class_weights is {class_weights!r}: give weights by attribute and class, or {BALANCED!r}")
        return
    for attribute, weights in class_weights.items():
        for name, weight in weights.items():
            if name not in classes.get(attribute, ()):
                problems.add(f"class_weights names {attribute}.{name}, which is not in classes: correct the name")
            if weight < 0:
                problems.add(f"class_weights of {attribute}.{name} is {weight}: give 0 or more")
