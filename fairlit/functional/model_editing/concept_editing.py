"""The closed form by which a linear map is taught new values for some inputs and kept at the old ones for others."""

from __future__ import annotations

import torch
from torch import Tensor


def edit_projection(
    weight: Tensor,
    concepts: Tensor,
    shifts: Tensor,
    *,
    preserved: Tensor,
    edit_scale: float = 1.0,
    preserve_scale: float = 1.0,
    ridge: float = 0.5,
) -> Tensor:
    """The weight that gives each concept c_i the value W (c_i + d_i), and other inputs what they had.

    It minimises, with W the weight as it was,
    edit_scale sum_i ||W' c_i - W (c_i + d_i)||^2 + preserve_scale sum_j ||W' p_j - W p_j||^2 + ridge ||W' - W||_F^2,
    which is quadratic in W'. With M = edit_scale sum c c^T + preserve_scale sum p p^T + ridge I its minimum is
    W' = W + edit_scale W (sum_i d_i c_i^T) M^-1, so nothing changes where all d_i are 0.

    Args:
        weight: W [O, D], which acts on column vectors, as that of `torch.nn.Linear` does.
        concepts: c_i [E, D], inputs whose value is to change; E may be 0.
        shifts: d_i [E, D], what is to be added to each, in the space of inputs.
        preserved: p_j [P, D], inputs whose value is to stay; P may be 0.
        edit_scale: weight of the concepts, at least 0.
        preserve_scale: weight of the preserved inputs, at least 0.
        ridge: weight of the old map, above 0; it also makes M invertible.

    Returns:
        W' [O, D] in the dtype of `weight`; computed in float64. Gandikota et al., Unified Concept Editing in Diffusion
        Models, WACV 2024 (arXiv 2308.14761), equation 7, with the ridge of the authors' code.
    """
    kept, old, added = concepts.double(), weight.double(), shifts.double()
    unit = torch.eye(weight.shape[1], dtype=torch.float64, device=weight.device)
    moments = edit_scale * kept.T @ kept + preserve_scale * preserved.double().T @ preserved.double() + ridge * unit
    change = torch.linalg.solve(moments, edit_scale * kept.T @ added)  # M^-1 sum c d^T, transposed of what is needed
    return (old + old @ change.T).to(weight.dtype)


def debiasing_step(shares: Tensor, desired: Tensor, step_size: float, *, tolerance: float) -> Tensor:
    """How much the strength of each class's direction in each concept changes after a measurement.

    Args:
        shares: of the classes as measured [C, K], any floating dtype; NaN where nothing could be measured.
        desired: shares [K].
        step_size: change of a strength for a share that is wrong by 1.
        tolerance: a concept none of whose shares is further off is left alone.

    Returns:
        [C, K], step_size (desired - shares); 0 for concepts within the tolerance and for NaN.
    """
    wrong = torch.nan_to_num(desired - shares, nan=0.0)
    within = (wrong.abs() <= tolerance).all(dim=-1, keepdim=True)
    return step_size * wrong.masked_fill(within, 0.0)
