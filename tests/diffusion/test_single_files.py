from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file
from single_files import save_single_file

from fairlit.diffusion import Backbone, check_pipeline
from fairlit.diffusion.pipeline_digest import pipeline_digest
from fairlit.diffusion.schedulers import check_sampling
from fairlit.diffusion.single_files import config_folder
from fairlit.diffusion.text_length import open_tokenizer
from fairlit.errors import CheckpointError, Problems


@pytest.fixture
def file(tiny_pipeline: StableDiffusionPipeline, tiny_pipeline_folder: Path, tmp_path: Path) -> Path:
    """A checkpoint in one file, with the configs of its pipeline beside it."""
    shutil.copytree(tiny_pipeline_folder, tmp_path / "tiny.v1", ignore=shutil.ignore_patterns("*.safetensors"))
    save_single_file(tiny_pipeline, tmp_path / "tiny.v1.safetensors")
    return tmp_path / "tiny.v1.safetensors"


def complaints(path: Path) -> list[str]:
    problems = Problems("test")
    check_pipeline(path, problems)
    return problems.messages


def test_a_file_is_the_model_of_its_folder(file: Path, tiny_pipeline_folder: Path) -> None:
    assert complaints(file) == []
    found, expected = Backbone.load(file, solver="ddim"), Backbone.load(tiny_pipeline_folder, solver="ddim")
    weights, other = found.state_dict(), expected.state_dict()
    assert weights.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in weights.items())
    assert not any(module.training for module in found.modules())
    assert found.scheduler.config == expected.scheduler.config
    assert found.tokenizer("a nurse").input_ids == expected.tokenizer("a nurse").input_ids
    assert Backbone.load(file, dtype=torch.bfloat16).unet.dtype == torch.bfloat16


def test_what_is_asked_of_a_model_before_it_is_loaded(file: Path, tiny_pipeline_folder: Path) -> None:
    tokenizer = open_tokenizer(file)
    assert tokenizer is not None
    problems = Problems("test")
    check_sampling(file, "pipeline", [5], problems=problems, subject="model")
    assert problems.messages == []
    configs = config_folder(file)
    assert configs == file.parent / "tiny.v1"
    assert Backbone.skeleton(configs).latent_shape() == Backbone.skeleton(tiny_pipeline_folder).latent_shape()
    before = pipeline_digest(file)
    scheduler = configs / "scheduler" / "scheduler_config.json"
    scheduler.write_text(json.dumps(json.loads(scheduler.read_text()) | {"beta_end": 0.02}))
    changed = pipeline_digest(file)
    with file.open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\x01")
    assert len({before, changed, pipeline_digest(file), pipeline_digest(tiny_pipeline_folder)}) == 4


@pytest.mark.parametrize(
    "name",
    [
        "model.diffusion_model.middle_block.1.norm.weight",
        "first_stage_model.decoder.mid.attn_1.q.weight",
        "cond_stage_model.transformer.text_model.final_layer_norm.bias",
    ],
)
def test_a_weight_that_would_stay_random_is_refused(
    file: Path, tiny_pipeline: StableDiffusionPipeline, name: str
) -> None:
    save_single_file(tiny_pipeline, file, without=name)
    with pytest.raises(CheckpointError, match=rf"^{re.escape(str(file))}: the weights lack tensors of the model that"):
        Backbone.load(file)


def test_a_missing_weight_of_the_text_encoder_is_named(file: Path, tiny_pipeline: StableDiffusionPipeline) -> None:
    """diffusers stops at those of U-Net and autoencoder without a word of which."""
    save_single_file(tiny_pipeline, file, without="text_model.final_layer_norm.bias")
    with pytest.raises(
        CheckpointError, match=r"describes \('(text_model\.)?final_layer_norm\.bias' of the text_encoder\)"
    ):
        Backbone.load(file)


def test_files_without_configs_and_files_that_are_no_checkpoint(file: Path, tmp_path: Path) -> None:
    lonely = shutil.copy(file, tmp_path / "other.safetensors")
    [message] = complaints(Path(lonely))
    assert f"no folder '{tmp_path / 'other'}' beside it; expected configs and tokenizer there" in message
    pickle = tmp_path / "tiny.ckpt"
    pickle.write_bytes(b"")
    [message] = complaints(pickle)
    assert "may run code when it is opened; expected a .safetensors file" in message
    whole = file.read_bytes()
    file.write_bytes(whole[:-8])
    [message] = complaints(file)
    assert f"{file} is cut short" in message
    save_file({"lora_unet_mid_block.lora_up.weight": torch.zeros(2, 2)}, file)
    messages = complaints(file)
    assert [re.findall(r"no weights of the (\w+) \((.+)\.\.\.\)", message) for message in messages] == [
        [("text_encoder", "cond_stage_model.")],
        [("unet", "model.diffusion_model.")],
        [("vae", "first_stage_model.")],
    ]
    assert "give a whole checkpoint of Stable Diffusion 1.x or 2.x" in messages[0]
