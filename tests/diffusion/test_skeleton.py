"""Pipelines without weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from diffusers import StableDiffusionPipeline

from fairlit.adaptors.pipelines import adaptable_layers
from fairlit.diffusion.skeleton import open_skeleton
from fairlit.errors import ConfigurationError


def test_has_the_layers_and_tokens_of_the_real_one(
    tiny_pipeline_folder: Path, tiny_pipeline: StableDiffusionPipeline, tmp_path: Path
) -> None:
    folder = tmp_path / "without_weights"
    shutil.copytree(tiny_pipeline_folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    skeleton = open_skeleton(folder)
    real = adaptable_layers(tiny_pipeline)
    found = adaptable_layers(skeleton)
    assert list(found) == list(real)
    for name, layer in real.items():
        shapes = {key: value.shape for key, value in layer.state_dict().items()}
        assert {key: value.shape for key, value in found[name].state_dict().items()} == shapes
    assert skeleton.tokenizer.get_vocab() == tiny_pipeline.tokenizer.get_vocab()
    assert skeleton.vae is None


def test_a_model_must_not_name_other_code(tiny_pipeline_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    shutil.copytree(tiny_pipeline_folder, folder)
    index = json.loads((folder / "model_index.json").read_text())
    index["unet"] = ["subprocess", "Popen"]
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ConfigurationError, match=r"unet of .*odd is of subprocess\.Popen"):
        open_skeleton(folder)
