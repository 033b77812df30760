"""What names a result for good: the version of fairlit, and digests of tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fairlit.version import fairlit_version as fairlit_version

if TYPE_CHECKING:
    from torch import Tensor


def file_digest(path: Path) -> str:
    """Return a name for the bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


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


def text_digest(text: str) -> str:
    """Return a name for a text.

    Example:
        >>> text_digest("a") == text_digest("b")
        False
    """
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
