from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fairlit.errors import Problems
from fairlit.io.model_folders import check_model_folder, check_weight_file, is_hub_id


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A complete folder of a model, as far as can be seen from outside."""
    model = tmp_path / "models" / "encoder"
    model.mkdir(parents=True)
    (model / "config.json").write_text(json.dumps({"model_type": "clip"}))
    save_file({"a": torch.zeros(3, 4), "b": torch.zeros(5)}, model / "model.safetensors", {"format": "pt"})
    return model


def complaints(path: str | Path) -> list[str]:
    problems = Problems("test")
    check_model_folder(path, "models.clip", problems)
    return problems.messages


def test_a_complete_folder_passes(folder: Path) -> None:
    assert complaints(folder) == []


def test_hub_ids_and_mistyped_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    for name in ("openai/clip-vit-base-patch32", "facebook/dinov2_base.x"):
        assert is_hub_id(name)
        assert complaints(name) == []
    for name in ("checkpoints/clpi", "./clip", "/a/b", "~/clip", "a/b/c", "clip", "../x", "a b/c"):
        assert not is_hub_id(name)
        [message] = complaints(name)
        assert name in message
        assert message.startswith("models.clip: ")


def test_every_length_that_is_too_short_is_noticed(folder: Path) -> None:
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    for length in (0, 5, 8, 40, len(whole) - 48, len(whole) - 1):
        file.write_bytes(whole[:length])
        [message] = complaints(folder)
        assert str(file) in message
        assert f"{length} bytes of " in message
        assert "copy it again" in message


def test_a_header_that_is_no_header(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes((20).to_bytes(8, "little") + b'["no mapping at all"' + bytes(100))
    assert "is no safetensors file" in complaints(folder)[0]
    file.write_bytes((4).to_bytes(8, "little") + b"[12]" + bytes(100))
    assert "is no safetensors file" in complaints(folder)[0]


def test_all_problems_at_once(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    (folder / "model.safetensors").unlink()
    damaged, missing = complaints(folder)
    assert "config.json is damaged" in damaged
    assert "holds no weights (.safetensors)" in missing
    (folder / "config.json").write_text("[]")
    assert "no mapping but list" in complaints(folder)[0]
    (folder / "config.json").unlink()
    assert "config.json is missing" in complaints(folder)[0]


def test_what_a_killed_writer_left_behind_does_no_harm(folder: Path) -> None:
    (folder / ".model.0123.partial.safetensors").write_bytes(b"half")
    assert complaints(folder) == []


def test_a_file_in_place_of_a_folder(folder: Path) -> None:
    [message] = complaints(folder / "model.safetensors")
    assert "is a file; give the folder" in message


def test_empty_weights_of_another_format(tmp_path: Path) -> None:
    file = tmp_path / "weights.bin"
    file.touch()
    problems = Problems("test")
    check_weight_file(file, "models.face_embedder", problems)
    assert "0 bytes of 1" in problems.messages[0]
