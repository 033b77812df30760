"""Adaptor files: header, bytes, and what happens to a damaged or interrupted one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from fairlit.adaptors import AdaptorMetadata, Lora, read_metadata
from fairlit.adaptors.files import adaptor_files, read_tensors, write_tensors
from fairlit.errors import CheckpointError
from fairlit.io.digests import tensor_digest

RECORD = AdaptorMetadata(
    base_model="some/model",
    attributes={"height": ("short", "tall"), "age": ("young", "old")},
    targets={"marginals": {"height": {"short": 0.5, "tall": 0.5}}},
    config_hash="abc123",
)


def test_metadata_round_trip_through_a_saved_adaptor(tiny_pipeline: StableDiffusionPipeline, tmp_path: Path) -> None:
    adaptor = Lora(rank=3, alpha=1.5, text_encoder_modules=["q_proj"])
    adaptor.attach(tiny_pipeline)
    (path,) = adaptor.save(tmp_path, tiny_pipeline, RECORD)
    read = read_metadata(tmp_path)
    assert read == read_metadata(path)
    assert (read.kind, read.rank, read.alpha) == ("lora", 3, 1.5)
    assert read.modules == {"text_encoder": ("q_proj",)}
    for name in ("base_model", "attributes", "targets", "config_hash", "version"):
        assert getattr(read, name) == getattr(RECORD, name)
    assert list(read.attributes) == ["height", "age"]


def test_fields_of_a_newer_version_are_passed_over() -> None:
    text = RECORD.to_json()[:-1] + ', "later": 1}'
    assert AdaptorMetadata.from_json(text) == RECORD


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(6.0).view(2, 3), "a": torch.ones(1)}
    header = {f"key{index}": str(index) for index in range(8)}
    contents = {write_tensors(tmp_path / "x.safetensors", tensors, header).read_bytes() for _ in range(10)}
    contents.add(write_tensors(tmp_path / "x.safetensors", tensors, dict(reversed(header.items()))).read_bytes())
    assert len(contents) == 1
    stored = load_file(tmp_path / "x.safetensors")
    assert all(torch.equal(stored[name], tensor) for name, tensor in tensors.items())
    written = read_tensors(tmp_path / "x.safetensors")[1]
    assert written == {"format": "pt", **header, "fairlit_digest": tensor_digest(tensors)}


def test_interrupted_save_leaves_the_old_file(
    tiny_pipeline: StableDiffusionPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adaptor = Lora(rank=2)
    adaptor.attach(tiny_pipeline)
    (path,) = adaptor.save(tmp_path, tiny_pipeline, RECORD)
    old = path.read_bytes()
    write_all = Path.write_bytes

    def write_half(self: Path, content: bytes) -> int:
        write_all(self, content[: len(content) // 2])
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", write_half)
        with pytest.raises(OSError, match="no space left"):
            adaptor.save(tmp_path, tiny_pipeline, AdaptorMetadata(base_model="another"))
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]
    adaptor.load(tmp_path)


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere: no such file or folder"):
        adaptor_files(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"no adaptor here: expected pytorch_lora_weights.* nothing"):
        adaptor_files(tmp_path)
    path = write_tensors(tmp_path / "learned_embeds.safetensors", {"a": torch.zeros(100)}, {})
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        read_metadata(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        read_tensors(path)
    with pytest.raises(CheckpointError, match="no such file"):
        read_tensors(tmp_path / "missing.safetensors")
    write_tensors(path, {"a": torch.zeros(1)}, {"fairlit": "[1"})
    with pytest.raises(CheckpointError, match="header is damaged"):
        read_metadata(path)


def test_a_foreign_file_has_an_empty_record(tmp_path: Path) -> None:
    path = write_tensors(tmp_path / "learned_embeds.safetensors", {"<x>": torch.zeros(1, 2)}, {})
    assert read_metadata(path) == AdaptorMetadata(version="")


def test_digest_is_of_names_types_shapes_and_values() -> None:
    tensors = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(1)}
    digest = tensor_digest(tensors)
    parameters = {name: torch.nn.Parameter(tensor) for name, tensor in reversed(tensors.items())}
    assert tensor_digest(parameters) == digest
    others = [
        {"a": tensors["a"], "c": tensors["b"]},
        {"a": tensors["a"].view(3, 2), "b": tensors["b"]},
        {"a": tensors["a"].double(), "b": tensors["b"]},
        {"a": tensors["a"], "b": tensors["b"] + 1e-7},
        {"a": tensors["a"].bfloat16(), "b": tensors["b"]},
    ]
    assert len({digest, *map(tensor_digest, others)}) == 6


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.tensor([0.0, float("nan"), 1.0]), "got 1 of 3 values that are NaN or infinite"),
        (torch.tensor([float("inf")]), "got 1 of 1 values that are NaN or infinite"),
        (torch.ones(2, dtype=torch.int8), "got int8; expected float32"),
    ],
)
def test_values_that_no_adaptor_has_are_refused_by_reader_and_writer(
    tensor: Tensor, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(CheckpointError, match=rf"'a': {message}"):
        write_tensors(path, {"a": tensor}, {})
    assert not path.exists()
    save_file({"a": tensor}, path)
    with pytest.raises(CheckpointError, match=rf"'a': {message}"):
        read_tensors(path)


def test_tensors_that_changed_since_they_were_saved_are_refused(tmp_path: Path) -> None:
    path = write_tensors(tmp_path / "x.safetensors", {"a": torch.ones(4)}, {})
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    save_file({"a": torch.tensor([1.0, 1.0, 0.0, 0.0])}, path, metadata=header)
    with pytest.raises(CheckpointError, match=r"tensors: got digest .* expected"):
        read_tensors(path)
    save_file({"a": torch.ones(4)}, path)  # older files and those of others have no digest
    assert torch.equal(read_tensors(path)[0]["a"], torch.ones(4))


@pytest.mark.parametrize(
    "record",
    [
        "[]",
        "3",
        "[" * 100_000,
        '{"rank": "four"}',
        '{"rank": 0}',
        '{"rank": true}',
        '{"alpha": NaN}',
        f'{{"alpha": 1{"0" * 400}}}',
        '{"tokens": "<x>"}',
        '{"modules": {"unet": [3]}}',
        '{"attributes": []}',
        '{"base_model": null}',
    ],
)
def test_damaged_records_are_named(record: str, tmp_path: Path) -> None:
    path = write_tensors(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, {"fairlit": record})
    with pytest.raises(CheckpointError, match=r"x\.safetensors: its 'fairlit' header is damaged"):
        read_metadata(path)


def test_cut_headers_are_named(tmp_path: Path) -> None:
    path = write_tensors(tmp_path / "x.safetensors", {"a": torch.zeros(10)}, {})
    whole = path.read_bytes()
    for length in (1, 7, 8, 9, 40, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"x\.safetensors: not a readable safetensors file"):
            read_tensors(path)
