"""Measures a classifier on validation faces, and makes its probabilities as sure as they are right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_confusion_matrix

from fairlit.faces.classifier import AttributeClassifier
from fairlit.faces.face_classifier import FaceClassifier
from fairlit.faces.reliability import reliability
from fairlit.faces.validation import AttributeValidation
from fairlit.functional.statistics.calibration import LARGEST, fit_temperature
from fairlit.io.finiteness import require_finite

BINS = 15
GIVEN_UP = 0.99 * LARGEST  # a temperature at which all classes are equally probable

Measured = tuple[dict[str, float], dict[str, AttributeValidation]]


@torch.no_grad()
def measure(
    classifier: FaceClassifier, batches: Iterable[tuple[Tensor, Tensor]], attributes: Sequence[str] | None = None
) -> Measured:
    """Fits temperatures and says how a classifier does with them.

    Args:
        classifier: Stays as it is; looked at in eval mode.
        batches: (faces float [N, 3, s, s] in [0, 1], cropped as the classifier crops, labels int64 [N, A]) of
            validation data; a negative label is none.
        attributes: What the columns of the labels are; None: the classifier's attributes.

    Returns:
        Temperature and validation of every attribute that was labelled at all.

    Raises:
        NotFiniteError: The classifier gives NaN or infinity.
    """
    names, mode, device = list(attributes or classifier.classes), classifier.training, classifier.device
    classifier.eval()
    rows: list[dict[str, Tensor]] = []
    labels: list[Tensor] = []
    try:
        for faces, given in batches:
            logits = classifier(faces.to(device))
            for name in names:
                require_finite(logits[name], f"classifier: logits of {name!r}")
            rows.append({name: logits[name].float().cpu() * classifier.temperature[name] for name in names})
            labels.append(given.cpu())
    finally:
        classifier.train(mode)
    temperature, validation = {}, {}
    for index, name in enumerate(names):
        target = torch.cat([part[:, index] for part in labels]) if labels else torch.zeros(0, dtype=torch.long)
        labelled = target >= 0
        if not labelled.any():
            continue
        raw, target = torch.cat([part[name] for part in rows])[labelled], target[labelled]
        temperature[name] = fit_temperature(raw, target)
        validation[name] = AttributeValidation(
            tuple(tuple(row) for row in multiclass_confusion_matrix(raw, target, raw.shape[1]).tolist()),
            calibration_error(raw, target),
            calibration_error(raw / temperature[name], target),
        )
    return temperature, validation


def calibrate(
    classifier: AttributeClassifier,
    batches: Iterable[tuple[Tensor, Tensor]],
    attributes: Sequence[str] | None = None,
) -> None:
    """Measures a classifier and keeps its temperatures, and how it did, in its config; see `measure`.

    An attribute that nobody labelled keeps its temperature and has no validation.
    """
    temperature, validation = measure(classifier, batches, attributes)
    kept = classifier.config.temperature | temperature
    classifier.config = replace(classifier.config, temperature=kept, validation=validation)


def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """Expected calibration error in [0, 1] of softmax(logits [N, K]) against labels [N], in 15 bins of confidence."""
    return float(multiclass_calibration_error(logits.softmax(dim=1), labels, logits.shape[1], n_bins=BINS, norm="l1"))


def describe_validation(temperature: dict[str, float], validation: dict[str, AttributeValidation]) -> list[str]:
    """One line an attribute: accuracy, and calibration error (ECE) at temperature 1 and at the one fitted."""
    confusions = {name: entry.confusion for name, entry in validation.items()}
    known = reliability(confusions, {name: [str(row) for row in range(len(rows))] for name, rows in confusions.items()})
    guessed = {name for name in validation if temperature[name] > GIVEN_UP}
    guessed |= {name for name, one in known.items() if not one.has_learnt}
    return [
        f"{name}  accuracy {entry.accuracy:.3f}"
        + (f" (balanced {known[name].balanced_accuracy:.3f})" if name in known else "")
        + f", ECE {entry.ece_before:.3f} -> {entry.ece_after:.3f} at temperature "
        f"{temperature[name]:.2f}, on {entry.samples} validation faces as they were labelled"
        + (": it tells these classes apart no better than chance" if name in guessed else "")
        for name, entry in validation.items()
    ]
