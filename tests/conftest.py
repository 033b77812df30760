"""Fixtures for all tests: a real, tiny, randomly initialised Stable Diffusion pipeline on disk."""

# ruff: noqa: E402 - what comes before the imports is for them

from __future__ import annotations

import gc
import os

gc.disable()  # until everything is imported and collected, see `pytest_collection`
os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach for the network
os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
import yaml
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from hypothesis import settings
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
)
from transformers.utils import logging as transformers_logging

from fairlit.faces import AttributeClassifier
from fairlit.faces.classifier_config import ClassifierConfig

if TYPE_CHECKING:
    from finished_runs import FinishedRuns

SUPPORT = Path(__file__).parent / "support"  # classes that configs of tests name
sys.path.insert(0, str(SUPPORT))

torch.set_num_threads(1)
settings.register_profile("shared cores", deadline=None)  # seconds say nothing where processes share the cores
settings.load_profile("shared cores")
diffusers_logging.disable_progress_bar()
transformers_logging.disable_progress_bar()

WORDS = (
    "a",
    "photo",
    "of",
    "the",
    "face",
    "doctor",
    "nurse",
    "chef",
    "farmer",
    "person",
    "woman",
    "man",
    "young",
    "old",
)
START, END = "<|startoftext|>", "<|endoftext|>"
CLIP_MEAN, CLIP_STD = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]


def tiny_tokenizer() -> CLIPTokenizer:
    """A real CLIP tokenizer: every printable ASCII letter, plus one token for each of `WORDS`."""
    characters = [chr(code) for code in range(33, 127)]
    pieces = characters + [f"{character}</w>" for character in characters]
    merges = []
    for word in WORDS:
        symbols = [*word[:-1], f"{word[-1]}</w>"]
        while len(symbols) > 1:
            merges.append(f"{symbols[0]} {symbols[1]}")
            symbols[:2] = [symbols[0] + symbols[1]]
            pieces.append(symbols[0])
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys([*pieces, START, END]))}
    unique_merges = [tuple(merge.split(" ")) for merge in dict.fromkeys(merges)]
    return CLIPTokenizer(vocab=vocabulary, merges=unique_merges, model_max_length=77)


def tiny_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_tiny_pipeline(seed: int = 0) -> StableDiffusionPipeline:
    """64-pixel pipeline with 16x16x4 latents and seeded random weights, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = tiny_tokenizer()
        text_encoder = tiny_text_encoder(tokenizer)
        vae = AutoencoderKL(
            block_out_channels=(8, 8, 16),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=4,
            sample_size=64,
        )
        unet = UNet2DConditionModel(
            sample_size=16,
            block_out_channels=(16, 32),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=1,
            cross_attention_dim=32,
            attention_head_dim=2,
            norm_num_groups=8,
        )
        scheduler = DPMSolverMultistepScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        )
    pipeline = StableDiffusionPipeline(
        vae=vae.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=tokenizer,
        unet=unet.eval(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """From here on the garbage collector looks at what tests make, and never again at what has been imported."""
    result = yield
    gc.collect()
    gc.freeze()
    gc.enable()
    return result


def pytest_sessionfinish() -> None:
    """At the end everything may go; libraries complain of what is left."""
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def _models_are_read_once() -> Iterator[None]:
    """Opening a model again is copying what the process has read before."""
    from reading import read_once

    with read_once():
        yield


@pytest.fixture(scope="session")
def tiny_pipeline_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that `StableDiffusionPipeline.from_pretrained` opens; read-only for tests."""
    folder = tmp_path_factory.mktemp("tiny") / "pipeline"
    build_tiny_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture
def tiny_pipeline(tiny_pipeline_folder: Path) -> StableDiffusionPipeline:
    """A fresh pipeline from `tiny_pipeline_folder`, float32, eval mode, the test's own to change."""
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_pipeline_folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="session")
def clip_folder(tiny_pipeline_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random CLIPModel with tokenizer and image processor; read-only for tests."""
    folder = tmp_path_factory.mktemp("clip")
    tokenizer = CLIPTokenizer.from_pretrained(tiny_pipeline_folder / "tokenizer", local_files_only=True)
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=12,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8
    )
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, image_mean=CLIP_MEAN, image_std=CLIP_STD
    ).save_pretrained(folder)
    return folder


def tiny_classifier(folder: Path, seed: int, classes: dict[str, tuple[str, ...]]) -> Path:
    """Writes the folder of a tiny random `AttributeClassifier` and returns it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        architecture = {"stages_repeats": [1, 1, 1], "stages_out_channels": [8, 16, 16, 32, 32]}
        config = ClassifierConfig(classes, architecture="shufflenet_v2", architecture_args=architecture, input_size=32)
        classifier = AttributeClassifier(config)
        with torch.no_grad():
            classifier.head.weight *= 1000  # else every face looks the same to it
        classifier.save(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_models(
    tiny_pipeline_folder: Path, clip_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The `models` block of a config: everything tiny and random; read-only for tests."""
    classes = {"gender": ("female", "male"), "age": ("young", "old")}
    folder = tmp_path_factory.mktemp("classifiers")
    return {
        "backbone": str(tiny_pipeline_folder),
        "classifier": str(tiny_classifier(folder / "train", 0, classes)),
        "audit_classifier": str(tiny_classifier(folder / "audit", 1, classes)),
        "clip": str(clip_folder),
    }


@pytest.fixture(scope="session")
def tiny_prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prompt file with two training prompts, two for validation and two for test."""
    words = {"train": ["doctor", "nurse"], "val": ["chef", "person"], "test": ["farmer", "man"]}
    family = {"templates": ["a photo of the face of a {word}"], "fillers": {"word": words}}
    path = tmp_path_factory.mktemp("prompts") / "prompts.yaml"
    path.write_text(yaml.safe_dump({"families": {"people": family}}))
    return path


@pytest.fixture(scope="session")
def finished_runs(tmp_path_factory: pytest.TempPathFactory) -> FinishedRuns:
    """Fits configs, equal ones once; what it leaves is the test's own to change."""
    from finished_runs import FinishedRuns

    return FinishedRuns(tmp_path_factory.mktemp("finished_runs"))


@pytest.fixture
def tiny_config(tmp_path: Path, tiny_models: dict[str, str], tiny_prompts: Path) -> Path:
    """A whole config on tiny random models, for the test to use or to change; runs go to ``tmp_path / "run"``."""
    trainer = {
        "accelerator": "cpu",
        "devices": 1,
        "max_steps": 4,
        "max_epochs": -1,
        "default_root_dir": str(tmp_path / "run"),
        "gradient_clip_val": 1.0,
        "check_val_every_n_epoch": None,
        "limit_val_batches": 0,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "callbacks": [
            {
                "class_path": "fairlit.callbacks.FaceEvaluation",
                "init_args": {"picture_prompts": 1, "picture_images": 2},
            },
            {"class_path": "fairlit.callbacks.AdaptorCheckpoint"},
            {"class_path": "fairlit.callbacks.ImageWriter"},
            {
                "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                "init_args": {"every_n_train_steps": 2, "save_top_k": 0, "save_last": True},
            },
        ],
    }
    model = {
        "models": tiny_models,
        "adaptor": {
            "class_path": "fairlit.adaptors.Lora",
            "init_args": {"rank": 2, "text_encoder": True, "unet": True},
        },
        "sampling": {"min_steps": 2, "max_steps": 3, "evaluation_steps": 2, "guidance_scale": 2.0},
        "alignment": {"threshold": 0.5},
        "preservation": {"weight": 1.0, "image_loss_scale": {"gender": 0.2}, "face_gradient_scale": {"gender": 0.2}},
        "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01}},
        "ema_decay": 0.9,
    }
    data = {
        "prompts": str(tiny_prompts),
        "target": {"gender": {"female": 0.5, "male": 0.5}},
        "images_per_prompt": 5,
        "validation_images": 3,
        "test_images": 3,
    }
    config = {
        "seed_everything": 0,
        "trainer": trainer,
        "model": {"class_path": "stand_ins.FinetunerSeeingFaces", "init_args": model},
        "data": {"class_path": "fairlit.data.PromptDataModule", "init_args": data},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path
