from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fairlit.io.tensor_headers import TensorHeader, find_quantised, read_header


def test_a_header_says_size_types_and_shapes(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(3, 4), "b": torch.zeros(5, dtype=torch.float16)}, file, {"format": "pt"})
    header = read_header(file)
    assert header.size == file.stat().st_size
    assert header.tensors == {"a": TensorHeader("F32", (3, 4)), "b": TensorHeader("F16", (5,))}


@pytest.mark.parametrize(
    "header", [b"[12]", b"{", b'{"a": {}}', b'{"a": {"dtype": "F32", "data_offsets": [0]}}', b"\xff"]
)
def test_other_files_are_no_safetensors(header: bytes, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(len(header).to_bytes(8, "little") + header + bytes(50))
    with pytest.raises(ValueError, match="header cannot be read"):
        read_header(tmp_path / "w")


@pytest.mark.parametrize(
    ("name", "kind", "is_quantised"),
    [
        ("up.weight", torch.float32, False),
        ("up.weight", torch.bfloat16, False),
        ("up.weight", torch.int64, True),
        ("up.bias", torch.bool, True),
        ("scale", torch.int8, True),
        ("scale", torch.float8_e5m2, True),
        ("position_ids", torch.int64, False),
    ],
)
def test_tensors_that_wait_for_a_scale(name: str, kind: torch.dtype, is_quantised: bool, tmp_path: Path) -> None:
    save_file({name: torch.ones(2).to(kind)}, tmp_path / "w.safetensors")
    found = find_quantised(read_header(tmp_path / "w.safetensors"))
    assert (found is not None and found.startswith(f"{name!r} as ")) == is_quantised
