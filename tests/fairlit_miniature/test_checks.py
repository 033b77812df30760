from __future__ import annotations

from pathlib import Path

import torch

from fairlit_miniature.checks import agreement, load_classifiers

FOLDER = Path(__file__).parents[2] / "checkpoints" / "miniature"


def test_agreement_is_that_of_all_classifiers() -> None:
    same = torch.tensor([0, 1, 1, 0])
    first = {"gender": same, "skin_tone": same, "age": same}
    second = first | {"age": torch.tensor([0, 1, 1, 1])}
    third = first | {"age": torch.tensor([1, 1, 1, 0])}
    assert agreement([first, second]) == {"gender": 1.0, "skin_tone": 1.0, "age": 0.75}
    assert agreement([first, second, third])["age"] == 0.5


def test_every_classifier_of_a_miniature_is_asked() -> None:
    assert set(load_classifiers(FOLDER)) == {"classifier_audit", "classifier_second", "classifier_train"}
