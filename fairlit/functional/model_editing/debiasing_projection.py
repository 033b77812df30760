"""A projection of text embeddings that takes an attribute out of them (debiasVL)."""

from __future__ import annotations

import torch
from torch import Tensor


def debiasing_projection(spurious: Tensor, pairs: Tensor, strength: float) -> Tensor:
    """The matrix P that removes spurious directions and brings pairs of embeddings together.

    P minimises ||P - P0||_F^2 + strength / M sum_m ||P (z_m - z'_m)||^2, where P0 projects onto what is orthogonal to
    all spurious directions. It has the closed form P0 (I + strength / M sum_m d_m d_m^T)^-1 with d_m = z_m - z'_m.

    Args:
        spurious: directions [K, D], such as embeddings of "a photo of a female person" and of a male one. Any that
            depend on others change nothing.
        pairs: differences d_m [M, D] between embeddings that should be equal, such as those of "a photo of a female
            doctor" and of a male one; M may be 0.
        strength: lambda, at least 0; 0 gives P0.

    Returns:
        [D, D], to be applied to column vectors; Chuang et al., Debiasing Vision-Language Models via Biased Prompts,
        2023 (arXiv 2302.00070), section 4.
    """
    size = spurious.shape[1]
    unit = torch.eye(size, dtype=spurious.dtype, device=spurious.device)
    _, values, vectors = torch.linalg.svd(spurious, full_matrices=False)
    basis = vectors[values > values.amax() * size * torch.finfo(values.dtype).eps]
    complement = unit - basis.T @ basis
    if len(pairs) == 0:
        return complement
    together = unit + strength / len(pairs) * pairs.T @ pairs
    return torch.linalg.solve(together, complement.T).T  # both are symmetric up to rounding
