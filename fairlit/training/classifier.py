"""Trains a classifier of perceived attributes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics.classification import MulticlassAccuracy

from fairlit.data.labelled_faces import UNLABELLED
from fairlit.errors import ConfigurationError, Problems
from fairlit.faces.classifier import AttributeClassifier
from fairlit.faces.classifier_config import ClassifierConfig, CropSettings


class AttributeClassifierTrainer(lightning.LightningModule):
    """Cross-entropy summed over attributes, AdamW, cosine schedule; accuracy of every attribute on validation.

    Batches are (faces float [N, 3, s, s] in [0, 1], labels int64 [N, A]), labels in the order of `classes`, -100 where
    an attribute was not labelled.

    Args:
        classes: Class names of each attribute.
        architecture: A name in `fairlit.faces.architectures.ARCHITECTURES`.
        architecture_args: Arguments of torchvision's constructor.
        input_size: Side of the faces that the network sees, in pixels.
        crop_kind: `box` or `aligned`: how the training faces were cropped and later ones will be.
        crop_margin: Margin of these crops, as a share of the box or template on each side.
        lr: Peak learning rate.
        weight_decay: Of AdamW; biases and normalisation layers have none.
        label_smoothing: Share of the label's mass that is spread over all classes.
        warmup: Share of the steps in which the rate rises to its peak.
        norm_momentum: Share of a batch in the running statistics of batch normalisation. torchvision's MobileNets come
            with 0.01, at which the statistics still lag behind after a few hundred steps.
        class_weights: Weight of each class in the loss, by attribute and class; 1 where not given.

    Raises:
        ConfigurationError: Something in it is wrong; all of it is named.
    """

    def __init__(
        self,
        classes: dict[str, list[str]],
        architecture: str = "mobilenet_v3_small",
        architecture_args: dict[str, Any] | None = None,
        input_size: int = 64,
        crop_kind: str = "box",
        crop_margin: float = 0.0,
        lr: float = 3e-3,
        weight_decay: float = 1e-2,
        label_smoothing: float = 0.05,
        warmup: float = 0.1,
        norm_momentum: float = 0.1,
        class_weights: dict[str, dict[str, float]] | None = None,
    ) -> None:
        super().__init__()
        with Problems("classifier training") as problems:
            for name, value, least in (("lr", lr, 1e-12), ("weight_decay", weight_decay, 0.0)):
                if not value >= least:
                    problems.add(f"{name} is {value}: give {least:g} or more")
            for name, value in (
                ("label_smoothing", label_smoothing),
                ("warmup", warmup),
                ("norm_momentum", norm_momentum),
            ):
                if not 0 <= value < 1:
                    problems.add(f"{name} is {value}: give a share in [0, 1)")
            for attribute, weights in (class_weights or {}).items():
                for unknown in sorted(set(weights) - set(classes.get(attribute, ()))):
                    problems.add(
                        f"class_weights names {attribute}.{unknown}, which is not in classes: correct the name"
                    )
        self.save_hyperparameters()
        config = ClassifierConfig(
            {attribute: tuple(names) for attribute, names in classes.items()},
            architecture,
            dict(architecture_args or {}),
            input_size,
            CropSettings(crop_kind, crop_margin),
        )
        self.classifier = AttributeClassifier(config)
        for module in self.classifier.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = norm_momentum
        self.lr, self.weight_decay, self.warmup = lr, weight_decay, warmup
        self.label_smoothing = label_smoothing
        self.accuracies = nn.ModuleList(
            MulticlassAccuracy(len(names), average="micro", ignore_index=UNLABELLED)
            for names in config.classes.values()
        )
        for index, (attribute, names) in enumerate(config.classes.items()):
            given = (class_weights or {}).get(attribute, {})
            row = torch.tensor([given.get(name, 1.0) for name in names])
            self.register_buffer(f"class_weights_{index}", row, persistent=False)

    def setup(self, stage: str) -> None:
        """Refuses data whose labels mean something else: they are mere indices by the time they arrive.

        Raises:
            ConfigurationError: The datamodule has other classes, or has them in another order.
        """
        given = getattr(getattr(self.trainer, "datamodule", None), "classes", None)
        ours = [(attribute, list(names)) for attribute, names in self.classifier.classes.items()]
        if given is not None and [(attribute, list(names)) for attribute, names in given.items()] != ours:
            raise ConfigurationError(
                f"data.classes is {given} and model.classes is {dict(ours)}: give both the same, in the same order"
            )

    def forward(self, faces: Tensor) -> dict[str, Tensor]:
        """Logits of every attribute, [N, K], for float faces [N, 3, s, s] in [0, 1]."""
        return self.classifier(faces)

    def loss(self, logits: dict[str, Tensor], labels: Tensor) -> Tensor:
        """Sum over attributes of the mean cross-entropy of the samples that are labelled.

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

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """One step of cross-entropy."""
        faces, labels = batch
        loss = self.loss(self(faces), labels)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        """Loss and accuracies on the validation split."""
        self._evaluate("val", batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        """Loss and accuracies on the test split."""
        self._evaluate("test", batch)

    def _evaluate(self, stage: str, batch: tuple[Tensor, Tensor]) -> None:
        faces, labels = batch
        logits = self(faces)
        self.log(f"{stage}/loss", self.loss(logits, labels), batch_size=len(faces), sync_dist=True)
        for index, attribute in enumerate(logits):
            accuracy = cast(MulticlassAccuracy, self.accuracies[index])
            accuracy.update(logits[attribute], labels[:, index])
            self.log(f"{stage}/accuracy_{attribute}", accuracy, batch_size=len(faces), prog_bar=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW; the rate rises linearly, then falls to zero along a cosine, step by step."""
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

    def export(self, folder: str | Path) -> None:
        """Writes the classifier as `AttributeClassifier.load` reads it."""
        self.classifier.save(folder)
