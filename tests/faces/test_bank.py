from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn.functional import cosine_similarity

from fairlit.errors import CheckpointError, ConfigurationError
from fairlit.faces import FaceBank, bank

CLASSES = {"hat": ("no", "yes")}


def some_bank(count: int = 7, width: int = 4, seed: int = 0) -> FaceBank:
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(count, width, generator=generator) * 3
    return FaceBank(embeddings, "maker", CLASSES, labels={"hat": torch.arange(count) % 2})


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 9), st.integers(0, 5))
def test_nearest_has_the_largest_cosine(seed: int, count: int, queries: int) -> None:
    faces = some_bank(count, seed=seed)
    query = torch.randn(queries, 4, generator=torch.Generator().manual_seed(seed + 1))
    found = faces.nearest(query)
    assert found.shape == (queries, 4)
    for row, entry in zip(query, found, strict=True):
        best = max(cosine_similarity(row, other, dim=0) for other in faces.embeddings)
        assert cosine_similarity(row, entry, dim=0) == pytest.approx(float(best), abs=1e-5)
        torch.testing.assert_close(entry.norm(), torch.tensor(1.0))


def test_wanted_classes_restrict_the_search_unless_nobody_has_them() -> None:
    faces = FaceBank(torch.eye(3), "maker", {"hat": ("no", "yes", "two")}, labels={"hat": torch.tensor([0, 1, 1])})
    query = torch.tensor([[1.0, 0.2, 0.1], [1.0, 0.2, 0.1], [1.0, 0.2, 0.1]])
    found = faces.nearest(query, {"hat": torch.tensor([0, 1, 2])})
    assert found.argmax(dim=1).tolist() == [0, 1, 0]
    with pytest.raises(ConfigurationError, match="mood"):
        faces.nearest(query, {"mood": torch.tensor([0, 0, 0])})


def test_mixed_precision_finds_the_same() -> None:
    """A thousand entries in a plane lie closer together than half precision tells apart."""
    angle = torch.arange(1000) * (2 * torch.pi / 1000)
    faces = FaceBank(torch.stack([angle.cos(), angle.sin()], dim=1), "maker")
    query = faces.embeddings[::7]
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(faces.nearest(query), query)


def test_chunked_search_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    faces, query = some_bank(), torch.randn(11, 4)
    whole = faces.nearest(query, {"hat": torch.arange(11) % 2})
    monkeypatch.setattr(bank, "SIMILARITIES_AT_ONCE", 21)
    assert torch.equal(whole, faces.nearest(query, {"hat": torch.arange(11) % 2}))


def test_save_and_load(tmp_path: Path) -> None:
    faces = some_bank()
    faces.save(tmp_path / "bank.safetensors")
    loaded = FaceBank.load(tmp_path / "bank.safetensors")
    torch.testing.assert_close(loaded.embeddings, faces.embeddings)
    assert loaded.classes == CLASSES
    assert loaded.embedder_id == "maker"
    assert torch.equal(loaded.labels["hat"], faces.labels["hat"])
    assert len(loaded) == 7


def test_a_bank_of_another_embedder_is_refused() -> None:
    faces = some_bank()
    faces.check_fits(SimpleNamespace(dim=4, identifier="maker"))  # type: ignore[arg-type]
    for dim, identifier in ((5, "maker"), (4, "other")):
        with pytest.raises(ConfigurationError, match="make the bank again"):
            faces.check_fits(SimpleNamespace(dim=dim, identifier=identifier))  # type: ignore[arg-type]


def test_bad_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bank.safetensors"
    with pytest.raises(CheckpointError, match="does not exist"):
        FaceBank.load(path)
    path.write_bytes(b"abc")
    with pytest.raises(CheckpointError, match="cannot be read"):
        FaceBank.load(path)
    save_file({"embeddings": torch.zeros(1, 1)}, path)
    with pytest.raises(CheckpointError, match="not a face bank"):
        FaceBank.load(path)


def test_bad_arguments_are_all_named() -> None:
    with pytest.raises(ConfigurationError) as caught:
        FaceBank(torch.zeros(0, 3), "maker", CLASSES, labels={"mood": torch.tensor([1])})
    assert "embeddings" in str(caught.value)
    assert "'mood'" in str(caught.value)
    with pytest.raises(ConfigurationError, match="indices below 2"):
        FaceBank(torch.eye(2), "maker", CLASSES, labels={"hat": torch.tensor([0, 2])})
    with pytest.raises(ConfigurationError) as caught:
        FaceBank(torch.ones(2, 3, dtype=torch.int8), "maker", CLASSES, labels={"hat": torch.tensor([0.0, 1.0])})
    assert "embeddings has the type torch.int8" in str(caught.value)
    assert "labels of 'hat' has the type torch.float32" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"classes": "{x"}, "damaged header"),
        ({"classes": "[1]"}, "damaged header"),
        ({"classes": '{"hat": 3}'}, "damaged header"),
        ({"classes": '{"hat": [1, 2]}'}, "damaged header"),
        ({"classes": None}, "damaged header"),
        ({"embedder": None}, "damaged header"),
        ({"classes": '{"mood": ["good", "bad"]}'}, "give the same attributes"),
        ({"embeddings": torch.full((7, 4), torch.nan)}, "NaN or infinity"),
        ({"embeddings": torch.ones(7, 4, dtype=torch.int8)}, r"type torch\.int8"),
        ({"embeddings": torch.ones(28)}, r"shape \[28\]"),
        ({"labels.hat": torch.zeros(7)}, r"type torch\.float32"),
        ({"labels.hat": torch.zeros(6, dtype=torch.long)}, "give 7 indices below 2"),
        ({"labels.hat": None}, "give the same attributes"),
    ],
)
def test_damaged_banks_are_named(change: dict[str, Any], reason: str, tmp_path: Path) -> None:
    path = tmp_path / "bank.safetensors"
    some_bank().save(path)
    with safe_open(path, "pt") as opened:
        metadata = dict(opened.metadata())
    tensors = load_file(path)
    for name, value in change.items():
        kind = metadata if name in metadata else tensors
        kind.pop(name)
        if value is not None:
            kind[name] = value
    save_file(tensors, path, metadata)
    with pytest.raises(CheckpointError, match=rf"(?s)bank\.safetensors.*{reason}.*copy or make it again"):
        FaceBank.load(path)
