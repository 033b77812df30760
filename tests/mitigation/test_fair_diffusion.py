"""Fair Diffusion: against diffusers' deprecated pipeline on equal inputs, and its directions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from closeness import close
from diffusers import SemanticStableDiffusionPipeline
from torch import Tensor

from fairlit.diffusion import Backbone
from fairlit.errors import ConfigurationError
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.sampling.noise import keyed_noise
from fairlit.mitigation import Chunk, FairDiffusion, NoMitigation, SamplingPlan
from fairlit.mitigation.class_words import joint_labels
from fairlit.mitigation.fair_diffusion import edit_weights

Run = Callable[..., Tensor]
PROMPT = "a photo of the face of a doctor"
SHARPER = {"warmup": 1, "threshold": 0.5, "scale": 4.0}  # so that three steps see all there is


def semantic_pipeline(backbone: Backbone) -> SemanticStableDiffusionPipeline:
    pipeline = SemanticStableDiffusionPipeline(
        vae=backbone.vae,
        text_encoder=backbone.text_encoder,
        tokenizer=backbone.tokenizer,
        unet=backbone.unet,
        scheduler=backbone.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_equals_the_pipeline_of_diffusers(tiny_pipeline_folder: Path, target: TargetDistribution) -> None:
    """Two images that go to opposite classes; the pipeline knows one direction a call, so it is called for each."""
    backbone = Backbone.load(tiny_pipeline_folder, prompt_padding="max_length")
    noise = keyed_noise([(0, image) for image in range(2)], backbone.latent_shape())
    chunk = Chunk.whole(PROMPT, 2)
    with FairDiffusion(warmup=2, threshold=0.9).prepare(backbone, SamplingPlan(steps=5), target) as sample:
        latents = sample(chunk, noise)
    pipeline = semantic_pipeline(backbone)
    labels = joint_labels(chunk, target, 0).tolist()
    dealt = FairDiffusion().dealt_classes(chunk, target)
    assert dealt == [{"gender": ("woman", "man")[label]} for label in labels]
    for image, label in enumerate(labels):
        expected = pipeline(
            PROMPT,
            latents=noise[image : image + 1],
            num_inference_steps=5,
            guidance_scale=7.0,
            editing_prompt=["woman person", "man person"],
            reverse_editing_direction=[label != 0, label != 1],
            edit_guidance_scale=4.0,
            edit_warmup_steps=2,
            edit_threshold=0.9,
            edit_momentum_scale=0.5,
            edit_mom_beta=0.6,
            output_type="latent",
        ).images
        difference = (latents[image] - expected[0]).abs().max()
        assert difference < 1e-4 * expected.abs().max()


def test_images_depend_on_their_place_alone_and_warmup_to_the_end_is_no_edit(run: Run) -> None:
    latents = run(FairDiffusion(guidance_scale=None, **SHARPER))
    pieces = run(FairDiffusion(guidance_scale=None, **SHARPER), chunk=1, batch_size=1)
    assert close(pieces, latents)
    plain = run(NoMitigation())
    assert not close(latents, plain, 2e-4)
    never = run(FairDiffusion(guidance_scale=None, warmup=3))
    assert close(never, plain)


def test_weights_go_to_the_own_classes_and_away_from_the_others() -> None:
    target = TargetDistribution({"a": {"x": 0.5, "y": 0.5}, "b": {"u": 0.4, "v": 0.3, "w": 0.3}})
    weights = edit_weights(target, reverse=True)
    assert weights.shape == (6, 5)
    assert weights[0].tolist() == [1, -1, 1, -0.5, -0.5]
    assert weights[5].tolist() == [-1, 1, -0.5, -0.5, 1]
    assert edit_weights(target, reverse=False)[5].tolist() == [0, 1, 0, 0, 1]


def test_refuses_nonsense() -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)7 problems"):
        FairDiffusion(
            edit_template="person", guidance_scale=-0.5, warmup=-1, scale=-1.0, threshold=2.0, momentum=-1.0, seed=-1
        )
    with pytest.raises(ConfigurationError, match="momentum_beta: got 1"):
        FairDiffusion(momentum_beta=1.0)
