"""Guidance: how several model outputs become one."""

from __future__ import annotations

import torch
from torch import Tensor


def classifier_free_guidance(unconditional: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """Moves the conditional output away from the unconditional one: u + scale (c - u).

    Args:
        unconditional: model output for the empty prompt [N, C, H, W].
        conditional: model output for the prompt, same shape.
        scale: 1 leaves `conditional` as it is, more follows the prompt more closely.

    Returns:
        [N, C, H, W]; Ho and Salimans, Classifier-Free Diffusion Guidance (2022), eq. 6 in the scale convention of
        Stable Diffusion.
    """
    return unconditional + scale * (conditional - unconditional)


def semantic_edit(unconditional: Tensor, edits: Tensor, weights: Tensor, *, scale: float, threshold: float) -> Tensor:
    """What several edit prompts ask for together, each where its say is strongest: sum_i w_i mu_i psi_i.

    psi_i = e_i - u is the direction of edit i, mu_i the scale where |psi_i| is at least the threshold's quantile of its
    own image and channel, and 0 elsewhere.

    Args:
        unconditional: predicted noise for the empty prompt [N, C, H, W].
        edits: predicted noise for each edit prompt [E, N, C, H, W].
        weights: [E, N]; above 0 towards the edit, below 0 away from it, 0 leaves it out.
        scale: strength of the edits.
        threshold: share of the elements that an edit leaves alone, in [0, 1].

    Returns:
        [N, C, H, W], to be added to the guided noise; Brack et al., SEGA: Instructing Text-to-Image Models using
        Semantic Guidance, NeurIPS 2023 (arXiv 2301.12247), section 3, with the quantile taken in each channel as in
        the implementation published in diffusers.
    """
    directions = edits - unconditional
    sizes = directions.abs()
    least = torch.quantile(sizes.flatten(start_dim=3).to(_quantile_dtype(sizes)), threshold, dim=3)
    kept = torch.where(sizes >= least.to(sizes)[..., None, None], scale * directions, torch.zeros_like(directions))
    return torch.einsum("en,enchw->nchw", weights.to(kept), kept)


def semantic_momentum(
    edit: Tensor, velocity: Tensor, momentum_scale: float, *, momentum_beta: float
) -> tuple[Tensor, Tensor]:
    """Adds momentum to an edit and gathers it for the next call.

    Args:
        edit: `semantic_edit` of this call [N, C, H, W].
        velocity: nu_t, what former calls have gathered, same shape; zeros at the first.
        momentum_scale: s_m, at least 0.
        momentum_beta: beta_m in [0, 1); the larger, the less the latest call counts.

    Returns:
        gamma_t = edit + s_m nu_t, and nu_{t+1} = beta_m nu_t + (1 - beta_m) gamma_t (SEGA, section 3). Momentum is
        gathered during the warm-up too, when gamma is not applied yet.
    """
    guidance = edit + momentum_scale * velocity
    return guidance, momentum_beta * velocity + (1 - momentum_beta) * guidance


def _quantile_dtype(values: Tensor) -> torch.dtype:
    """What torch.quantile takes: float32 at least."""
    return torch.promote_types(values.dtype, torch.float32)
