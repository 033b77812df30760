"""Measures a classifier on validation faces, and makes its probabilities as sure as they are right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_confusion_matrix

from fairlit.faces.classifier import AttributeClassifier
from fairlit.faces.validation import AttributeValidation
from fairlit.functional.calibration import fit_temperature

BINS = 15


@torch.no_grad()
def calibrate(classifier: AttributeClassifier, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Fits the temperature of every attribute and keeps how the classifier did, both in its config.

    Args:
        classifier: Stays as it is but for its config; looked at in eval mode.
        batches: (faces float [N, 3, s, s] in [0, 1], labels int64 [N, A]) of validation data; a negative label is none.
            An attribute that nobody labelled keeps its temperature.
    """
    mode, device = classifier.training, classifier.head.weight.device
    classifier.eval()
    config = replace(classifier.config, temperature={}, validation={})
    before, classifier.config = classifier.config, config
    rows: list[dict[str, Tensor]] = []
    labels: list[Tensor] = []
    try:
        for faces, given in batches:
            rows.append({name: logits.float().cpu() for name, logits in classifier(faces.to(device)).items()})
            labels.append(given.cpu())
    finally:
        classifier.config = before
        classifier.train(mode)
    temperature, validation = dict(before.temperature), {}
    for index, name in enumerate(classifier.classes):
        target = torch.cat([part[:, index] for part in labels]) if labels else torch.zeros(0, dtype=torch.long)
        labelled = target >= 0
        if not labelled.any():
            continue
        logits, target = torch.cat([part[name] for part in rows])[labelled], target[labelled]
        temperature[name] = fit_temperature(logits, target)
        confusion = multiclass_confusion_matrix(logits, target, logits.shape[1])
        validation[name] = AttributeValidation(
            tuple(tuple(row) for row in confusion.tolist()),
            calibration_error(logits, target),
            calibration_error(logits / temperature[name], target),
        )
    classifier.config = replace(before, temperature=temperature, validation=validation)


def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """Expected calibration error in [0, 1] of softmax(logits [N, K]) against labels [N], in 15 bins of confidence."""
    return float(multiclass_calibration_error(logits.softmax(dim=1), labels, logits.shape[1], n_bins=BINS, norm="l1"))
