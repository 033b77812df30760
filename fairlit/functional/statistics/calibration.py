"""Temperature scaling: one number that makes a classifier's probabilities as sure as they are right."""

from __future__ import annotations

import math

from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional

from fairlit.errors import ConfigurationError

LEAST, LARGEST = 0.01, 100.0


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature that minimises the negative log-likelihood of labels under softmax(logits / temperature).

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2. The likelihood is concave in
    1 / temperature, so there is one optimum. To the N samples comes one more whose label is spread over all classes,
    as Platt (1999) smooths the labels of his sigmoid: without it, a classifier that errs on none of the N would get
    temperature zero.

    Args:
        logits: float [N, K], N at least 1.
        labels: int64 [N], class indices.

    Returns:
        A number in [0.01, 100].

    Raises:
        ConfigurationError: There is no sample.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[3.0, 0.0]] * 4)
        >>> fit_temperature(logits, torch.tensor([0, 0, 0, 1])) > 1  # 95 % sure, 75 % right
        True
    """
    if len(labels) == 0:
        raise ConfigurationError("temperature: there is no labelled sample to fit it on: give some")
    logits, smoothing = logits.detach().double(), 1 / (len(labels) + 1)

    def loss(log_temperature: float) -> float:
        scaled = logits / math.exp(log_temperature)
        return float(functional.cross_entropy(scaled, labels, label_smoothing=smoothing))

    found = minimize_scalar(loss, bounds=(math.log(LEAST), math.log(LARGEST)), method="bounded")
    return math.exp(found.x)
