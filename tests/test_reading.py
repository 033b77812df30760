"""Models that tests read once: copies of their own, and no copy of a folder that has changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel

from fairlit.errors import CheckpointError
from fairlit.faces import AttributeClassifier


def test_every_reader_gets_a_model_of_its_own(tiny_pipeline_folder: Path) -> None:
    state = torch.get_rng_state()
    one, two = (StableDiffusionPipeline.from_pretrained(tiny_pipeline_folder, local_files_only=True) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)  # first or not, a read draws no random numbers
    assert type(one) is type(two) is StableDiffusionPipeline
    for name, tensor in one.unet.state_dict().items():
        other = two.unet.state_dict()[name]
        assert torch.equal(tensor, other)
        assert tensor.data_ptr() != other.data_ptr()
    one.tokenizer.add_tokens("<new>")
    assert len(two.tokenizer) == len(one.tokenizer) - 1


def test_parts_of_a_pipeline_are_copies_too(tiny_pipeline_folder: Path) -> None:
    for kind, part in ((UNet2DConditionModel, "unet"), (CLIPTextModel, "text_encoder")):
        one, two = (kind.from_pretrained(tiny_pipeline_folder / part, local_files_only=True) for _ in range(2))
        assert type(one) is type(two) is kind
        for name, tensor in one.state_dict().items():
            other = two.state_dict()[name]
            assert torch.equal(tensor, other)
            assert tensor.data_ptr() != other.data_ptr()


def test_settings_and_changed_files_are_seen(tiny_models: dict[str, str], tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_models["classifier"], tmp_path / "classifier")
    frozen = AttributeClassifier.load(folder)
    trainable = AttributeClassifier.load(folder, trainable=True)
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert all(parameter.requires_grad for parameter in trainable.parameters())
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="cannot be read"):
        AttributeClassifier.load(folder)
