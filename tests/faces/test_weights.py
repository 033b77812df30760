from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fairlit.errors import CheckpointError
from fairlit.faces.weights import load_weights


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    weight = torch.zeros(2, 3)
    weight[1, 2] = value
    save_file({"weight": weight, "bias": torch.zeros(2)}, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="NaN or infinity in 'weight'"):
        load_weights(nn.Linear(3, 2), tmp_path / "w.safetensors")


def test_quantised_weights_are_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(2, 3, dtype=torch.int8), "bias": torch.zeros(2)}, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"'weight' as torch\.int8"):
        load_weights(nn.Linear(3, 2), tmp_path / "w.safetensors")


def test_a_changed_byte_of_an_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, path)
    content = bytearray(path.read_bytes())
    content[content.index(torch.ones(6).numpy().tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"w\.pth' cannot be read \(wrong checksum of w/data/0\)"):
        load_weights(nn.Linear(3, 2), path)


def test_weights_in_eight_bits_are_refused(tmp_path: Path) -> None:
    weight = torch.ones(2, 3).to(torch.float8_e4m3fn)
    save_file({"weight": weight, "bias": torch.zeros(2)}, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"'weight' as torch\.float8_e4m3fn; expected floating point of 16 bits"):
        load_weights(nn.Linear(3, 2), tmp_path / "w.safetensors")
