"""What names a result for good: the version of fairlit, and digests of tensors and files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from fairlit.io.file_status import FileMark, file_mark
from fairlit.version import fairlit_version as fairlit_version

if TYPE_CHECKING:
    from torch import Tensor, nn


def file_digest(path: Path) -> str:
    """Return a name for the bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def files_digest(files: Iterable[Path]) -> str:
    """Return a name for the names and bytes of files, wherever they lie; a process reads each once until it changes.

    Args:
        files: regular files, in an order that their names and folders decide.
    """
    return text_digest("\n".join(f"{file.name} {_digest_of(file_mark(file.absolute()))}" for file in files))


@cache
def _digest_of(mark: FileMark) -> str:
    return file_digest(Path(mark[0]))


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


def module_digest(module: nn.Module) -> str:
    """Return a name for the tensors of a module's state, see `tensor_digest`."""
    from torch import Tensor

    return tensor_digest({name: tensor for name, tensor in module.state_dict().items() if isinstance(tensor, Tensor)})


def text_digest(text: str) -> str:
    """Return a name for a text.

    Example:
        >>> text_digest("a") == text_digest("b")
        False
    """
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
