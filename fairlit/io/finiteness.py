"""Numbers out of weight files and networks, checked before anything is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fairlit.errors import NotFiniteError

if TYPE_CHECKING:
    from torch import Tensor


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first tensor that holds NaN or infinity; None where all are finite.

    Args:
        tensors: Tensors by name; whole numbers are always finite.
    """
    return next((name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())), None)


def require_finite(values: Tensor, source: str) -> Tensor:
    """Return what a network gave, where all of it is finite.

    Args:
        values: N rows of any shape.
        source: network and what it gave, which begins the message.

    Raises:
        NotFiniteError: NaN or infinity is among it.
    """
    bad = ~(values.flatten(1) if values.ndim > 1 else values[:, None]).isfinite().all(dim=1)
    if bool(bad.any()):
        raise NotFiniteError(
            f"{source}: got NaN or infinity for {int(bad.sum())} of {len(bad)}; expected finite numbers; try float32, "
            "or get the model again. No file and no figure is made of them"
        )
    return values
