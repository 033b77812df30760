"""The random model of Stable Diffusion v1-5's size, and one training step of it as a user takes it."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from cli_runs import last_checkpoint, read_checkpoint, run_fairlit, variant
from safetensors.torch import load_file
from script_runs import load_script

PARAMETERS = {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480}  # of the published weights


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("random_sd15")


@pytest.mark.parametrize("name", PARAMETERS)
def test_sizes_are_those_of_the_published_model(script: ModuleType, name: str) -> None:
    with torch.device("meta"):
        part = script.build_part(name)
    assert sum(parameter.numel() for parameter in part.parameters()) == PARAMETERS[name]


def test_tokenizer_has_the_interface_of_clip_s(script: ModuleType) -> None:
    tokenizer = script.build_tokenizer()
    assert len(tokenizer) == 49408
    ids = tokenizer("a photo of the face of a plumber, a person", padding="max_length").input_ids
    assert len(ids) == tokenizer.model_max_length == 77
    assert ids[0] == tokenizer.bos_token_id == 49406
    assert ids[-1] == tokenizer.pad_token_id == tokenizer.eos_token_id == 49407
    assert len(set(ids[1:4])) == 3


@pytest.mark.slow
def test_one_step_of_the_whole_model(script: ModuleType, tiny_config: Path, tmp_path: Path) -> None:
    """LoRA of the paper's rank in both parts, 2 images of 256 pixels, 2 solver steps; 7 GiB, 3 GB of disk."""
    folder, run = tmp_path / "sd15", tmp_path / "run"
    checkpoint = {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint"}
    changes: dict[str, Any] = {
        "trainer.max_steps": 1,
        "trainer.callbacks": [
            {"class_path": "fairlit.callbacks.AdaptorCheckpoint", "init_args": {"verify": False}},
            checkpoint | {"init_args": {"every_n_train_steps": 1, "save_top_k": 0, "save_last": True}},
        ],
        "model.init_args.models.backbone": str(folder),
        "model.init_args.adaptor.init_args.rank": 50,
        "model.init_args.sampling": {"min_steps": 2, "max_steps": 2, "image_size": 256, "solver": "dpm-solver++"},
        "model.init_args.gradient": {"loss_batch": 1},
        "model.init_args.replay": {"micro_batch": 1},
        "model.init_args.alignment.threshold": 0.0,
        "data.init_args.images_per_prompt": 2,
        "data.init_args.validation_images": 1,
    }
    try:
        script.write_random_sd15(folder)
        config = variant(tiny_config, run, changes)
        planned = run_fairlit("fit", "--config", config, "--dry_run")
        assert planned.returncode == 0, planned.stderr
        assert "8,294,400 in the text encoder and 9,964,800 in the U-Net" in planned.stdout
        done = run_fairlit("fit", "--config", config, timeout=3600)
        assert done.returncode == 0, done.stderr
        saved = read_checkpoint(last_checkpoint(run))
        assert saved["global_step"] == 1
        assert saved["step_guard"]["skipped"] == 0
        trained = load_file(run / "adaptor" / "pytorch_lora_weights.safetensors")
        moved = {name: float(tensor.abs().max()) for name, tensor in trained.items() if "lora_B" in name}
        assert len(moved) == 72 + 128  # layers of the text encoder and of the U-Net
        assert all(0 < size < 1 for size in moved.values())  # from zero, every one of them
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(run, ignore_errors=True)
