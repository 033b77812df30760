"""The projection against its definition."""

from __future__ import annotations

import torch

from fairlit.functional.model_editing.debiasing_projection import debiasing_projection


def test_is_the_minimum_of_its_objective() -> None:
    generator = torch.Generator().manual_seed(0)
    spurious, pairs = torch.randn(2, 4, 7, generator=generator, dtype=torch.float64).unbind()
    found = debiasing_projection(spurious[:2], pairs, 3.0)
    complement = torch.eye(7, dtype=torch.float64) - torch.linalg.pinv(spurious[:2]) @ spurious[:2]
    leaf = found.clone().requires_grad_()
    objective = (leaf - complement).square().sum() + 3.0 / 4 * (leaf @ pairs.T).square().sum()
    objective.backward()
    assert leaf.grad is not None
    assert leaf.grad.abs().max() < 1e-12


def test_removes_spurious_directions_and_closes_pairs() -> None:
    generator = torch.Generator().manual_seed(1)
    spurious, pairs = torch.randn(2, 2, 6, generator=generator, dtype=torch.float64).unbind()
    repeated = torch.cat([spurious, spurious.sum(0, keepdim=True)])  # depends on the others
    projection = debiasing_projection(repeated, pairs, 0.0)
    assert torch.allclose(projection @ projection, projection, atol=1e-12)
    assert (spurious @ projection).abs().max() < 1e-12
    assert torch.allclose(debiasing_projection(spurious, pairs[:0], 5.0), projection, atol=1e-12)
    strong = debiasing_projection(spurious, pairs, 1e9)
    assert (strong @ pairs.T).abs().max() < 1e-6
