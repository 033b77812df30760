from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from fairlit.errors import ConfigurationError
from fairlit.losses import FaceRealismLoss


def test_sum_of_cosine_distances_by_a_loop() -> None:
    torch.manual_seed(0)
    raw = torch.randn(2, 4, 6, dtype=torch.float64)
    weights = [1.0, 0.5, 0.0, 2.0]
    found = FaceRealismLoss(0.5)(normalize(raw[0], dim=-1), normalize(raw[1], dim=-1), torch.tensor(weights))
    distances = [1 - float(cosine_similarity(raw[0, face], raw[1, face], dim=0)) for face in range(4)]
    expected = sum(weight * distance for weight, distance in zip(weights, distances, strict=True))
    assert float(found) == pytest.approx(0.5 * expected)
    assert float(FaceRealismLoss()(torch.zeros(0, 6), torch.zeros(0, 6), torch.zeros(0))) == 0


def test_the_own_face_where_all_is_as_wanted_and_certain() -> None:
    labels = {"a": torch.tensor([0, 0, 0, 1]), "b": torch.tensor([1, 1, 1, 1])}
    references = {"a": torch.tensor([0, 0, 1, -1]), "b": torch.tensor([1, 1, 1, -1])}
    certainty = {"a": torch.tensor([0.8, 0.9, 1.0, 0.0]), "b": torch.tensor([0.9, 0.79, 1.0, 0.0])}
    kept = FaceRealismLoss(confidence=0.8).keeps_reference(
        target_labels=labels, reference_labels=references, certainty=certainty
    )
    # kept; unsure of b; a changes; a face that the reference did not have
    assert kept.tolist() == [True, False, False, False]


def test_bad_settings() -> None:
    with pytest.raises(ConfigurationError) as caught:
        FaceRealismLoss(-0.1, 2.0)
    for part in ("realism: 2 problems", "weight: got -0.1", "confidence: got 2.0"):
        assert part in str(caught.value)
