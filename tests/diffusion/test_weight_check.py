from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from fairlit.diffusion import check_pipeline, weight_check
from fairlit.diffusion.weight_check import check_tensors
from fairlit.errors import Problems

Change = Callable[[dict[str, Tensor]], object]


@pytest.fixture
def folder(tiny_pipeline_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_pipeline_folder, tmp_path / "model"))


def looked_at(folder: Path) -> tuple[str, list[str]]:
    problems = Problems("test")
    return check_tensors(folder, problems, "backbone"), problems.messages


def change(file: Path, by: Change) -> None:
    tensors = load_file(file)
    by(tensors)
    save_file(tensors, file)


def test_a_sound_pipeline(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert looked_at(folder) == ("names and shapes were compared with the configs, and all numbers are finite", [])
    monkeypatch.setattr(weight_check, "_READ", 1000)
    told, messages = looked_at(folder)
    assert "GiB of numbers were not looked at" in told
    assert messages == []


def test_names_of_earlier_versions(folder: Path) -> None:
    def early(tensors: dict[str, Tensor]) -> None:
        for name in list(tensors):
            if "mid_block.attentions" in name:
                found = tensors.pop(name)
                name = name.replace("to_q", "query").replace("to_k", "key").replace("to_out.0", "proj_attn")
                linear = found.ndim == 2 and "norm" not in name
                tensors[name.replace("to_v", "value")] = found[..., None, None].contiguous() if linear else found

    def without_level(tensors: dict[str, Tensor]) -> None:
        for name in list(tensors):
            tensors[name.removeprefix("text_model.")] = tensors.pop(name)

    change(folder / "vae" / "diffusion_pytorch_model.safetensors", early)
    change(folder / "text_encoder" / "model.safetensors", without_level)
    assert looked_at(folder)[1] == []


def test_what_is_missing_misshapen_or_no_number_is_named(folder: Path) -> None:
    unet = folder / "unet" / "diffusion_pytorch_model.safetensors"
    change(unet, lambda tensors: (tensors.pop("conv_in.bias"), tensors.pop("conv_in.weight")))
    change(unet, lambda tensors: tensors.update({"conv_out.bias": torch.zeros(7)}))
    text = folder / "text_encoder" / "model.safetensors"
    name = next(name for name in load_file(text) if name.endswith("final_layer_norm.weight"))
    change(text, lambda tensors: tensors[name].fill_(float("nan")))
    _, messages = looked_at(folder)
    assert len(messages) == 3
    assert "lack 'conv_in.weight' and 1 more tensors" in messages[0]
    assert "'conv_out.bias' of shape [7] instead of [4]" in messages[1]
    assert f"{text} holds NaN or infinity in {name!r}" in messages[2]


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn])
def test_quantised_weights_are_refused_with_type_and_tensor(folder: Path, dtype: torch.dtype) -> None:
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    change(file, lambda tensors: tensors.update({"conv_in.weight": tensors["conv_in.weight"].to(dtype)}))
    names = {torch.int8: "I8", torch.uint8: "U8", torch.float8_e4m3fn: "F8_E4M3"}
    problems = Problems("test")
    check_pipeline(folder, problems)
    [message] = problems.messages
    assert f"{file} has 'conv_in.weight' as {names[dtype]}" in message
    fp8 = file.with_name("diffusion_pytorch_model.fp8.safetensors")
    file.rename(fp8)  # a variant that is not loaded
    change(fp8, lambda tensors: save_file({name: tensor.float() for name, tensor in tensors.items()}, file))
    check_pipeline(folder, problems)
    assert problems.messages == [message]


def test_counters_may_be_whole_numbers(folder: Path) -> None:
    file = folder / "text_encoder" / "model.safetensors"
    change(file, lambda tensors: tensors.update({"text_model.embeddings.position_ids": torch.arange(77)[None]}))
    problems = Problems("test")
    check_pipeline(folder, problems)
    assert problems.messages == []
    assert looked_at(folder)[1] == []
