"""The search for strengths: halves steps that went too far, keeps the best, and ends where all is near enough."""

from __future__ import annotations

import pytest
import torch

from fairlit.mitigation.model_editing.strength_search import StrengthSearch, share_distance

HALF = torch.tensor([0.5, 0.5]).double()


def test_steps_by_hand() -> None:
    search = StrengthSearch(1, HALF, step_size=1.0, tolerance=0.05)
    assert search.strengths.tolist() == [[0.0, 0.0]]
    search.observe(torch.tensor([[0.8, 0.2]]).double())
    torch.testing.assert_close(search.strengths, torch.tensor([[-0.3, 0.3]]).double())
    search.observe(torch.tensor([[0.4, 0.6]]).double())  # too far: half of the step back
    torch.testing.assert_close(search.strengths, torch.tensor([[-0.25, 0.25]]).double())
    torch.testing.assert_close(search.best, torch.tensor([[-0.3, 0.3]]).double())  # that of the measurement off by 0.1
    assert not search.settled
    search.observe(torch.tensor([[0.52, 0.48]]).double())
    assert search.settled
    torch.testing.assert_close(search.best, torch.tensor([[-0.25, 0.25]]).double())


def test_a_concept_without_faces_is_as_far_as_can_be() -> None:
    shares = torch.tensor([[0.6, 0.4], [torch.nan, torch.nan]]).double()
    assert share_distance(shares, HALF) == pytest.approx((0.1 + 1.0) / 2, abs=1e-6)
