"""Finetuning of families with several text encoders, from settings to the saved adaptor."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from finetuning import FACTORS, finetuner, miniature_models, prompts, trainer
from tiny_xl import build_tiny_xl

from fairlit.adaptors import AdaptorMetadata, Lora, SoftTokens, verify_saved
from fairlit.errors import Problems
from fairlit.losses import FaceRealismLoss, ImagePreservationLoss
from fairlit.training import Models, Sampling


@pytest.fixture
def models(tiny_pipeline: StableDiffusionPipeline, tmp_path: Path) -> Models:
    """A tiny random pipeline of Stable Diffusion XL, and the miniature's judges."""
    build_tiny_xl(tiny_pipeline).save_pretrained(tmp_path / "xl")
    return dataclasses.replace(
        miniature_models(), backbone=str(tmp_path / "xl"), dino=None, face_embedder=None, face_bank=None
    )


def test_a_step_trains_all_three_parts(models: Models, tmp_path: Path) -> None:
    """Random pictures have no faces, but what they lose of the original ones."""
    adaptor = Lora(rank=2, alpha=3, text_encoder_2=True, unet=True)
    module = finetuner(
        adaptor,
        models=models,
        sampling=Sampling(min_steps=2, max_steps=2, evaluation_steps=2, guidance_scale=3.0),
        preservation=ImagePreservationLoss(weight=2.0, image_loss_scale=FACTORS, face_gradient_scale=FACTORS),
        realism=FaceRealismLoss(weight=0.0),
    )
    module.configure_model()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # at the start the pictures are the original ones
        for parameter in adaptor.parameters().values():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    before = {name: parameter.detach().clone() for name, parameter in adaptor.parameters().items()}
    trainer(tmp_path, max_steps=1).fit(module, prompts(images_per_prompt=2))
    assert {name.split(".")[0] for name in before} == {"text_encoder", "text_encoder_2", "unet"}
    assert [name for name, value in adaptor.parameters().items() if torch.equal(value, before[name])] == []
    assert module.ema is not None
    with module.ema.applied():  # (1 + 1) / (10 + 1) of the past, as the average warms up
        after = adaptor.parameters()
        assert all(not torch.equal(after[name], value) for name, value in before.items())
        adaptor.save(tmp_path / "adaptor", module.backbone, AdaptorMetadata())
        assert verify_saved(adaptor, tmp_path / "adaptor", module.backbone) < 1e-5


def test_an_adaptor_that_does_not_fit_is_refused_before_weights_load(models: Models) -> None:
    problems = Problems("config")
    for adaptor in (SoftTokens(), Lora(text_encoder_2=True)):
        finetuner(adaptor, models=models).check(None, problems)
    assert problems.messages == []
    finetuner(Lora(text_encoder_2=True)).check(None, problems)
    [message] = problems.messages
    assert message.startswith("text_encoder_2: got true for Stable Diffusion 1.x or 2.x, which has no such part;")
