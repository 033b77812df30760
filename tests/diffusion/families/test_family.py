from __future__ import annotations

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    LCMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
)
from tiny_xl import build_tiny_xl

from fairlit.diffusion import Backbone, Chain, Conditioning, rollout
from fairlit.diffusion.families.lookup import family_of
from fairlit.functional.sampling.noise import chain_noise, keyed_generator
from fairlit.functional.sampling.solver import linear_solver

PROMPTS = ["a photo of the face of a doctor", "a nurse"]


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
@pytest.mark.parametrize("steps", [1, 4])
def test_latents_and_images_are_the_stock_pipelines(
    tiny_pipeline: StableDiffusionPipeline, steps: int, guidance_scale: float
) -> None:
    settings = {"clip_sample": False, "timestep_spacing": "trailing"}  # else one step leaves noise
    tiny_pipeline.scheduler = DDIMScheduler.from_config(tiny_pipeline.scheduler.config, **settings)
    backbone = Backbone(tiny_pipeline, prompt_padding="max_length")
    noise = torch.randn(2, *backbone.latent_shape(), generator=torch.Generator().manual_seed(0))
    chain = Chain(backbone, linear_solver(backbone.scheduler, steps), guidance_scale)
    with torch.no_grad():
        conditioning = Conditioning.of_prompts(backbone.encode(["", *PROMPTS]), torch.tensor([1, 2]))
    latents = rollout(chain, noise, conditioning).latents
    call = {"num_inference_steps": steps, "guidance_scale": guidance_scale, "latents": noise}
    expected = tiny_pipeline(PROMPTS, **call, output_type="latent").images
    assert (latents - expected).abs().max() < 1e-5 * expected.abs().max()
    images = tiny_pipeline(PROMPTS, **call, output_type="pt").images
    torch.testing.assert_close(backbone.decode(latents), images, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", [LCMScheduler, EulerAncestralDiscreteScheduler])
@pytest.mark.parametrize("xl", [False, True])
def test_stock_pipelines_repeat_pictures_with_fresh_noise(
    tiny_pipeline: StableDiffusionPipeline, xl: bool, kind: type
) -> None:
    pipeline = build_tiny_xl(tiny_pipeline) if xl else tiny_pipeline
    pipeline.scheduler = kind.from_config(pipeline.scheduler.config)
    backbone, keys = Backbone(pipeline, prompt_padding="max_length"), [(3, 0), (3, 1)]
    chain = Chain(backbone, linear_solver(backbone.scheduler, 4), 3.0)
    noise = chain_noise(keys, backbone.latent_shape(), chain.solver.num_fresh)
    with torch.no_grad():
        conditioning = Conditioning.of_prompts(backbone.encode(["", *PROMPTS]), torch.tensor([1, 2]))
    latents = rollout(chain, noise, conditioning, max_batch=1).latents
    generators = [keyed_generator(key) for key in keys]
    call = {"num_inference_steps": 4, "guidance_scale": 3.0, "latents": noise[:, 0], "generator": generators}
    expected = pipeline(PROMPTS, **call, output_type="latent").images
    assert (latents - expected).abs().max() < 1e-5 * expected.abs().max()


def test_a_stock_pipeline_is_made_around_the_same_parts_or_others(tiny_pipeline: StableDiffusionPipeline) -> None:
    family, scheduler = family_of(tiny_pipeline), DDIMScheduler()
    made = family.pipeline(tiny_pipeline, scheduler=scheduler)
    assert type(made) is StableDiffusionPipeline
    assert made.scheduler is scheduler
    assert all(getattr(made, name) is getattr(tiny_pipeline, name) for name in family.parts)


def test_the_inpainting_pipeline_takes_a_model_of_landscapes(tiny_pipeline: StableDiffusionPipeline) -> None:
    tiny_pipeline.unet.register_to_config(sample_size=(8, 24))
    family, scheduler = family_of(tiny_pipeline), DDIMScheduler()
    made = family.inpainting_pipeline(tiny_pipeline, scheduler)
    assert type(made) is StableDiffusionInpaintPipeline
    assert made.scheduler is scheduler
    assert all(getattr(made, name) is getattr(tiny_pipeline, name) for name in family.parts)
