"""Numbers out of weight files, checked before anything is computed with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first tensor that holds NaN or infinity; None where all are finite.

    Args:
        tensors: Tensors by name; whole numbers are always finite.
    """
    return next((name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())), None)
