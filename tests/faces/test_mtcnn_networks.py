from __future__ import annotations

import shutil
from importlib.machinery import ModuleSpec
from pathlib import Path

import facenet_pytorch
import pytest
import torch
from facenet_pytorch.models import mtcnn as reference

from fairlit.errors import CheckpointError
from fairlit.faces import mtcnn_networks
from fairlit.faces.mtcnn_networks import load_cascade

WEIGHTS = Path(facenet_pytorch.__file__).parent / "data"


@pytest.mark.parametrize(
    ("place", "name", "size"), [(0, "PNet", (30, 41)), (1, "RNet", (24, 24)), (2, "ONet", (48, 48))]
)
def test_networks_say_what_those_of_facenet_pytorch_say(place: int, name: str, size: tuple[int, int]) -> None:
    pixels = torch.rand(3, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        found, expected = load_cascade()[place](pixels), getattr(reference, name)()(pixels)
    for part, expected_part in zip(found, expected, strict=True):
        torch.testing.assert_close(part, expected_part, rtol=0, atol=0)


def from_folder(folder: Path | None, patch: pytest.MonkeyPatch) -> None:
    """Let the weights be looked for in `folder`; None: the package is not installed."""
    spec = None if folder is None else ModuleSpec("facenet_pytorch", None, is_package=True)
    if spec is not None:
        spec.submodule_search_locations = [str(folder)]
    patch.setattr(mtcnn_networks, "find_spec", lambda name: spec)


def test_weights_that_are_missing_or_not_finite_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from_folder(None, monkeypatch)
    with pytest.raises(CheckpointError, match=r"no package 'facenet_pytorch'.*install it again"):
        load_cascade()
    from_folder(tmp_path, monkeypatch)
    with pytest.raises(CheckpointError, match=r"face detector: .*pnet\.pt.*install facenet-pytorch again"):
        load_cascade()
    shutil.copytree(WEIGHTS, tmp_path / "data")
    load_cascade()
    tensors = torch.load(WEIGHTS / "rnet.pt", weights_only=True)
    tensors["conv2.bias"][3] = torch.nan  # of which "no face" would be made
    torch.save(tensors, tmp_path / "data" / "rnet.pt")
    with pytest.raises(CheckpointError, match=r"face detector: .*rnet\.pt.*'conv2.bias'"):
        load_cascade()
