"""What of the large world is committed so far: the finished stages of its build."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from safetensors.torch import load_file
from transformers import CLIPTextModel

from fairlit_miniature.build import HELD_OUT_FROM
from fairlit_miniature.checks import check_encoders, check_text_encoder
from fairlit_miniature.dataset import Drawings
from fairlit_miniature.drawing import draw_scene
from fairlit_miniature.landscape import readme
from fairlit_miniature.recipe import GUIDANCE, LARGE
from fairlit_miniature.stages import RECORD, STAGES, is_installed, read_record
from fairlit_miniature.tokenizing import build_tokenizer
from fairlit_miniature.training_faces import build_detector
from fairlit_miniature.training_vae import reconstruct
from fairlit_miniature.world import balanced_scene, caption

FOLDER = Path(__file__).parents[2] / "checkpoints" / "large"


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    return read_record(FOLDER)


def test_committed_stages_are_the_recipes_and_lack_none_before_them(record: dict[str, Any]) -> None:
    assert list(record) == list(STAGES[: len(record)]), f"{FOLDER / RECORD} lacks a stage before the last"
    assert all(is_installed(FOLDER, LARGE, stage) for stage in record)


def test_drawings_pass_the_committed_autoencoder_as_its_checks_say(record: dict[str, Any]) -> None:
    vae = AutoencoderKL.from_pretrained(FOLDER / "pipeline" / "vae", dtype=torch.float32)
    scenes = [balanced_scene(LARGE.seed, HELD_OUT_FROM + index, LARGE.occupations) for index in range(48)]
    images = torch.stack([torch.from_numpy(draw_scene(scene).pixels).permute(2, 0, 1) for scene in scenes]) / 255.0
    error = (images - reconstruct(vae, images)).square().mean(dim=(1, 2, 3))
    psnr = float((-10 * error.log10()).mean())
    assert psnr == pytest.approx(record["autoencoder"]["checks"]["vae_psnr"], abs=0.7)
    assert psnr > 24
    weights = load_file(FOLDER / "pipeline" / "vae" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}


def test_committed_encoders_know_drawings_as_their_checks_say(record: dict[str, Any]) -> None:
    vae = AutoencoderKL.from_pretrained(FOLDER / "pipeline" / "vae", dtype=torch.float32)
    scenes = [balanced_scene(LARGE.seed, HELD_OUT_FROM + index, LARGE.occupations) for index in range(48)]
    drawn = [draw_scene(scene) for scene in scenes]
    pixels = torch.stack([torch.from_numpy(drawing.pixels).permute(2, 0, 1) for drawing in drawn])
    figures = check_encoders(FOLDER, vae, Drawings(scenes, pixels, torch.empty(0)), LARGE.occupations, 48)
    assert figures["clip_names_occupation"] == pytest.approx(
        record["encoders"]["checks"]["clip_names_occupation"], abs=0.05
    )
    checked = record["encoders"]["checks"]["clip_names_class"]
    assert figures["clip_names_class"] == {name: pytest.approx(share, abs=0.05) for name, share in checked.items()}
    assert min(checked.values()) > 0.95
    assert figures["dino_finds_drawing"] == pytest.approx(record["encoders"]["checks"]["dino_finds_drawing"], abs=0.05)


def test_the_committed_unet_is_as_stable_diffusions_and_draws_faces() -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(FOLDER / "pipeline")
    assert pipeline.unet.config.addition_embed_type is None
    assert pipeline.unet.dtype == torch.float32
    pipeline.set_progress_bar_config(disable=True)
    jobs = [job for job in LARGE.occupations if job.split == "val"]
    images = pipeline(
        [caption("occupations", job, {}) for job in jobs],
        num_inference_steps=12,
        guidance_scale=GUIDANCE,
        generator=torch.Generator().manual_seed(0),
        output_type="pt",
    ).images
    assert build_detector()(images).has_face.float().mean() > 0.75


def test_the_committed_text_encoder_foretells_as_its_checks_say(record: dict[str, Any]) -> None:
    text_encoder = CLIPTextModel.from_pretrained(FOLDER / "pipeline" / "text_encoder")
    figures = check_text_encoder(text_encoder, build_tokenizer(LARGE.occupations), LARGE.occupations)
    assert figures["foretold_men"] == pytest.approx(record["text_encoder"]["checks"]["foretold_men"], abs=2e-3)
    assert figures["foretold_men"] < 0.1
    names = load_file(FOLDER / "pipeline" / "text_encoder" / "model.safetensors")
    assert all(name.startswith("text_model.") for name in names), "as transformers 4 reads them"
    assert json.loads((FOLDER / "pipeline" / "text_encoder" / "config.json").read_text())["vocab_size"] == 1442


def test_the_committed_landscape_model_goes_with_the_stages() -> None:
    """It shares the text encoder and the autoencoder; its U-Net is another one, of the same shape."""
    landscape = FOLDER / "landscape"
    figures = json.loads((landscape / "checks.json").read_text())
    assert (landscape / "README.md").read_text() == readme(figures)
    assert min(figures["word_obeyed"].values()) > 0.9
    for part in ("text_encoder/model.safetensors", "vae/diffusion_pytorch_model.safetensors"):
        assert (landscape / "pipeline" / part).read_bytes() == (FOLDER / "pipeline" / part).read_bytes()
    own, first = (
        load_file(place / "unet" / "diffusion_pytorch_model.safetensors")
        for place in (landscape / "pipeline", FOLDER / "pipeline")
    )
    assert {name: tensor.shape for name, tensor in own.items()} == {
        name: tensor.shape for name, tensor in first.items()
    }
    assert not torch.equal(own["conv_out.weight"], first["conv_out.weight"])
