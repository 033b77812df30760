"""What names a result for good: the version of fairlit, and digests of tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import metadata as package_metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def fairlit_version() -> str:
    """Version of the installed package, or ``unknown`` when it runs from a bare source tree."""
    try:
        return package_metadata.version("fairlit")
    except package_metadata.PackageNotFoundError:
        return "unknown"


def tensor_digest(tensors: Mapping[str, Tensor]) -> str:
    """A name for what tensors hold: names, dtypes, shapes and values, whatever their order, device and file.

    Example:
        >>> import torch
        >>> tensor_digest({"a": torch.zeros(2)}) == tensor_digest({"a": torch.zeros(3)})
        False
    """
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {list(values.shape)}\n".encode())
        digest.update(values.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
