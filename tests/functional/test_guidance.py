"""Guidance against hand arithmetic."""

from __future__ import annotations

import torch

from fairlit.functional.guidance import classifier_free_guidance


def test_classifier_free_guidance_by_hand() -> None:
    unconditional, conditional = torch.tensor([1.0, -2.0]), torch.tensor([3.0, 0.0])
    assert torch.equal(classifier_free_guidance(unconditional, conditional, 1.0), conditional)
    assert torch.equal(classifier_free_guidance(unconditional, conditional, 0.0), unconditional)
    assert torch.equal(classifier_free_guidance(unconditional, conditional, 7.5), torch.tensor([16.0, 13.0]))
