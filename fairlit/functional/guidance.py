"""Guidance: how several model outputs become one."""

from __future__ import annotations

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
