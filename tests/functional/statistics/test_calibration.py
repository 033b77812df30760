from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fairlit.errors import ConfigurationError
from fairlit.functional.statistics.calibration import fit_temperature


def draw(seed: int, count: int, classes: int, temperature: float) -> tuple[Tensor, Tensor]:
    """Logits whose labels follow softmax(logits / temperature)."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(count, classes, generator=generator, dtype=torch.float64)
    labels = torch.multinomial((logits / temperature).softmax(dim=1), 1, generator=generator)[:, 0]
    return logits, labels


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_labels_is_found(true: float) -> None:
    logits, labels = draw(0, 20_000, 4, true)
    assert fit_temperature(logits, labels) == pytest.approx(true, rel=0.03)


def test_no_temperature_on_a_grid_has_a_smaller_likelihood_loss() -> None:
    logits, labels = draw(1, 5000, 3, 1.7)
    found = fit_temperature(logits, labels)

    def loss(temperature: float) -> float:
        probabilities = torch.exp(logits / temperature) / torch.exp(logits / temperature).sum(dim=1, keepdim=True)
        return float(-probabilities[torch.arange(len(labels)), labels].log().mean())

    assert loss(found) <= min(loss(found * factor) for factor in (0.5, 0.9, 0.97, 1.03, 1.1, 2.0))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.2, 5.0))
def test_scaled_logits_scale_the_temperature(seed: int, factor: float) -> None:
    logits, labels = draw(seed, 200, 3, 1.0)
    once, scaled = fit_temperature(logits, labels), fit_temperature(factor * logits, labels)
    assert scaled == pytest.approx(factor * once, rel=1e-3)


def test_a_classifier_without_an_error_is_made_no_surer_than_its_samples_allow() -> None:
    """All of N right at a margin m: the best confidence is (N + 1/2) / (N + 1), the added sample being half right."""
    logits = torch.tensor([[2.0, 0.0]] * 99)
    temperature = fit_temperature(logits, torch.zeros(99, dtype=torch.long))
    assert float((logits[0] / temperature).softmax(dim=0)[0]) == pytest.approx(99.5 / 100, abs=1e-4)


def test_nothing_to_fit_on_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no labelled sample"):
        fit_temperature(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))
