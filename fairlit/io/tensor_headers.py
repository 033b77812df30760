"""What safetensors files say of their tensors, read without loading them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

_NUMBERS = ("F64", "F32", "F16", "BF16")
_COUNTERS = ("I64", "I32", "BOOL")  # of positions and batches


@dataclass(frozen=True)
class TensorHeader:
    """One tensor as the header of its file describes it.

    Attributes:
        dtype: type in the words of safetensors, such as `F16`.
        shape: its sides.
    """

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class FileHeader:
    """A safetensors file as its header describes it.

    Attributes:
        size: number of bytes that the whole file has.
        tensors: its tensors by name; none where the file ends within its header.
    """

    size: int
    tensors: dict[str, TensorHeader]


def read_header(file: Path) -> FileHeader:
    """Return what the header of a safetensors file says.

    Args:
        file: file of any length.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a safetensors file.
    """
    with file.open("rb") as stream:
        prefix = stream.read(8)
        length = int.from_bytes(prefix, "little")
        if len(prefix) < 8 or 8 + length > file.stat().st_size:
            return FileHeader(8 + length, {})
        text = stream.read(length)
    try:
        entries = {name: entry for name, entry in json.loads(text).items() if name != "__metadata__"}
        end = max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
        tensors = {
            name: TensorHeader(str(entry["dtype"]), tuple(map(int, entry["shape"]))) for name, entry in entries.items()
        }
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"its header cannot be read: {error}") from error
    return FileHeader(8 + length + end, tensors)


def find_quantised(header: FileHeader) -> str | None:
    """Return what is wrong with the first tensor of a file that waits for a scale; None where none does.

    These are weights as whole numbers, and everything that is stored in 8 bits or fewer.

    Args:
        header: header of the file.
    """
    for name, tensor in header.tensors.items():
        is_weight = name.endswith((".weight", ".bias"))
        if tensor.dtype not in _NUMBERS and (is_weight or tensor.dtype not in _COUNTERS):
            return quantised(name, tensor.dtype)
    return None


def quantised(name: str, kind: object) -> str:
    """Return what is wrong with a quantised tensor: a cast would make other numbers of it.

    Args:
        name: name of the tensor.
        kind: its type.
    """
    return f"{name!r} as {kind}; expected floating point of 16 bits or more; give weights that are not quantised"
