"""The closed form of concept editing against least squares, and its limits."""

from __future__ import annotations

import torch
from torch import Tensor

from fairlit.functional.model_editing.concept_editing import debiasing_step, edit_projection


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equals_least_squares() -> None:
    """The objective's terms stacked as rows of one overdetermined system, solved by LAPACK's least squares."""
    weight, concepts, shifts, preserved = normal(0, 4, 7), normal(1, 3, 7), normal(2, 3, 7), normal(3, 2, 7)
    found = edit_projection(
        weight, concepts, shifts, preserved=preserved, edit_scale=2.0, preserve_scale=0.3, ridge=0.05
    )
    inputs = torch.cat([2.0**0.5 * concepts, 0.3**0.5 * preserved, 0.05**0.5 * torch.eye(7, dtype=torch.float64)])
    values = [
        2.0**0.5 * (concepts + shifts) @ weight.T,
        0.3**0.5 * preserved @ weight.T,
        0.05**0.5 * weight.T,
    ]
    expected = torch.linalg.lstsq(inputs, torch.cat(values), driver="gelsd").solution.T
    assert torch.allclose(found, expected, rtol=0.0, atol=1e-12)


def test_limits() -> None:
    weight, concepts, shifts, preserved = normal(0, 4, 9), normal(1, 2, 9), normal(2, 2, 9), normal(3, 3, 9)
    edited = edit_projection(weight, concepts, shifts, preserved=preserved, ridge=1e-7)  # five inputs, nine dimensions
    assert torch.allclose(concepts @ edited.T, (concepts + shifts) @ weight.T, atol=1e-5)
    assert torch.allclose(preserved @ edited.T, preserved @ weight.T, atol=1e-5)
    orthogonal = torch.linalg.svd(torch.cat([concepts, preserved]))[2][5:]
    assert torch.allclose(orthogonal @ edited.T, orthogonal @ weight.T, atol=1e-8)
    assert torch.equal(edit_projection(weight, concepts, 0 * shifts, preserved=preserved), weight)
    assert torch.equal(edit_projection(weight, concepts[:0], shifts[:0], preserved=preserved), weight)
    assert edit_projection(weight.half(), concepts, shifts, preserved=preserved).dtype == torch.float16


def test_steps_go_towards_the_target_and_stop_within_the_tolerance() -> None:
    desired = torch.tensor([0.5, 0.3, 0.2])
    shares = torch.tensor([[1.0, 0.0, 0.0], [0.52, 0.3, 0.18], [torch.nan, torch.nan, torch.nan]])
    step = debiasing_step(shares, desired, step_size=2.0, tolerance=0.05)
    assert torch.allclose(step, torch.tensor([[-1.0, 0.6, 0.4], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
