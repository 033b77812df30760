"""Kept activations: the same gradient as the detached graph, with half of the evaluations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from chain_setup import ADAPTORS, IMAGES, SCHEDULERS, STEPS, Setup, relative
from diffusers import StableDiffusionPipeline
from torch import Tensor

from fairlit.diffusion import Conditioning, Pairs, Rollout, detached_graph, replay, rollout
from fairlit.diffusion.chain import select
from fairlit.diffusion.kept_activations import KeptActivations
from fairlit.diffusion.sample_counter import SampleCounter
from fairlit.functional.sampling.solver import output_weights


def keeper(count: int, conditioning: Conditioning, pairs: Pairs | None = None) -> KeptActivations:
    """A keeper of the first `count` pairs of all, or of those given."""
    every = torch.arange(STEPS * IMAGES)
    evaluations = every // IMAGES if pairs is None else pairs.evaluations
    images = every % IMAGES if pairs is None else pairs.images
    return KeptActivations.first(count, evaluations, images, shape=(STEPS, IMAGES), conditioning=conditioning)


def kept_gradient(setup: Setup, count: int, *, pairs: Pairs | None = None, max_batch: int | None = None) -> Tensor:
    weights = output_weights(setup.scheduler, STEPS, "uniform")
    conditioning = setup.conditioning()
    keep = keeper(count, conditioning, pairs)
    sampled = rollout(setup.chain, setup.noise, conditioning, max_batch, keep=keep)
    assert keep.count == min(count, STEPS * IMAGES if pairs is None else len(pairs.images))
    latents = replay(setup.chain, sampled, conditioning, weights, setup.inner, micro_batch=5, pairs=pairs)
    return setup.gradient(latents)


@pytest.mark.parametrize("scheduler", ["dpm", "dpm-v", "euler", "lcm", "euler ancestral"])
@pytest.mark.parametrize("adaptor", ADAPTORS)
def test_equals_detached_graph(tiny_pipeline: StableDiffusionPipeline, adaptor: str, scheduler: str) -> None:
    setup = Setup(tiny_pipeline, adaptor, scheduler, torch.float64)
    weights = output_weights(SCHEDULERS[scheduler], STEPS, "uniform")
    expected = setup.gradient(detached_graph(setup.chain, setup.noise, setup.conditioning(), weights=weights))
    for count, max_batch in ((1, None), (5, 2), (STEPS * IMAGES, None), (100, 2)):
        assert relative(kept_gradient(setup, count, max_batch=max_batch), expected) < 1e-10


def test_equals_detached_graph_in_float32(tiny_pipeline: StableDiffusionPipeline) -> None:
    setup = Setup(tiny_pipeline, "both", "dpm", torch.float32)
    weights = output_weights(setup.scheduler, STEPS, "uniform")
    expected = setup.gradient(detached_graph(setup.chain, setup.noise, setup.conditioning(), weights=weights))
    assert relative(kept_gradient(setup, 7), expected) < 1e-4


def test_kept_evaluations_are_made_once(tiny_pipeline: StableDiffusionPipeline) -> None:
    """With guidance: 2 n S samples forward to sample, and two more for each pair that is not kept."""
    setup = Setup(tiny_pipeline, "both", "dpm", torch.float32)
    for count in (0, 4, STEPS * IMAGES):
        counter = SampleCounter(setup.backbone)
        kept_gradient(setup, count)
        assert counter.forwards == 2 * IMAGES * STEPS + 2 * (STEPS * IMAGES - count)
        assert counter.backwards == 2 * IMAGES * STEPS


def test_drawn_pairs(tiny_pipeline: StableDiffusionPipeline) -> None:
    setup = Setup(tiny_pipeline, "both", "dpm", torch.float64)
    evaluations = torch.tensor([[0, 2], [1, 1], [3, 3]])  # as stretches may give, some twice
    pairs = Pairs.drawn(evaluations, STEPS, setup.noise.device)
    expected = kept_gradient(setup, 0, pairs=pairs)
    assert relative(expected, kept_gradient(setup, 0)) > 1e-3
    for count in (1, 2, 4):
        assert relative(kept_gradient(setup, count, pairs=pairs), expected) < 1e-10


def test_rollout_is_the_same(tiny_pipeline: StableDiffusionPipeline) -> None:
    setup = Setup(tiny_pipeline, "both", "dpm", torch.float64)
    conditioning = setup.conditioning()
    plain = rollout(setup.chain, setup.noise, conditioning)
    kept = rollout(setup.chain, setup.noise, conditioning, keep=keeper(5, conditioning))
    torch.testing.assert_close(kept.latents, plain.latents)
    torch.testing.assert_close(kept.states, plain.states)
    assert not kept.latents.requires_grad
    assert not kept.states.requires_grad


def test_images_beside_that_are_not_kept(tiny_pipeline: StableDiffusionPipeline) -> None:
    """Reference images in the same rollout: their prompts are others, and their gradient is nobody's."""
    setup = Setup(tiny_pipeline, "text encoder", "dpm", torch.float64)
    expected = kept_gradient(setup, 0)
    conditioning = setup.conditioning()
    with torch.no_grad(), setup.adaptor.disabled():
        original = setup.conditioning()
    keep = keeper(7, conditioning)
    joined = Conditioning.join(conditioning, original)
    both = rollout(setup.chain, torch.cat([setup.noise, setup.noise]), joined, keep=keep)
    mine, references = both.split(IMAGES)
    assert references.kept is None
    torch.testing.assert_close(references.latents, rollout(setup.chain, setup.noise, original).latents)
    weights = output_weights(setup.scheduler, STEPS, "uniform")
    latents = replay(setup.chain, mine, conditioning, weights, setup.inner, micro_batch=5)
    assert relative(setup.gradient(latents), expected) < 1e-10


def test_a_second_backward_pass_repeats_what_is_gone(tiny_pipeline: StableDiffusionPipeline) -> None:
    setup = Setup(tiny_pipeline, "both", "dpm", torch.float64)
    weights = output_weights(setup.scheduler, STEPS, "uniform")
    conditioning = setup.conditioning()
    sampled = rollout(setup.chain, setup.noise, conditioning, keep=keeper(7, conditioning))
    loss = setup.loss(replay(setup.chain, sampled, conditioning, weights, setup.inner))
    first, second = (
        torch.cat([g.flatten() for g in torch.autograd.grad(loss, setup.parameters, retain_graph=True)])
        for _ in range(2)
    )
    assert relative(second, first) < 1e-10


def test_half_precision_has_the_gradient_of_all_weights(tiny_pipeline: StableDiffusionPipeline) -> None:
    """Autocast remembers casts of weights: those that were made without gradient must not be taken."""
    setup = Setup(tiny_pipeline, "unet", "dpm", torch.float32)

    def gradient(count: int) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            conditioning = setup.conditioning()
            setup.backbone(setup.noise, torch.ones(IMAGES), select(conditioning.prompts, conditioning.rows))
            sampled = rollout(setup.chain, setup.noise, conditioning, keep=keeper(count, conditioning))
            weights = output_weights(setup.scheduler, STEPS, "uniform")
            latents = replay(setup.chain, sampled, conditioning, weights, setup.inner)
        return setup.gradient(latents.float())

    assert relative(gradient(7), gradient(0)) < 0.05


@pytest.mark.parametrize("device", ["gpu", "cpu"])
def test_too_little_memory_leaves_the_rest_to_the_replay(
    device: str, tiny_pipeline: StableDiffusionPipeline, caplog: pytest.LogCaptureFixture
) -> None:
    setup = Setup(tiny_pipeline, "both", "dpm", torch.float64)
    expected = kept_gradient(setup, 0)
    calls = 0

    def refuse(module: Any, inputs: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2 and torch.is_grad_enabled():
            if device == "gpu":
                raise torch.OutOfMemoryError("full")
            torch.empty(2**62, dtype=torch.uint8)

    hook = setup.backbone.register_forward_pre_hook(refuse)
    weights = output_weights(setup.scheduler, STEPS, "uniform")
    conditioning = setup.conditioning()
    keep = keeper(100, conditioning)
    sampled: Rollout = rollout(setup.chain, setup.noise, conditioning, keep=keep)
    hook.remove()
    assert keep.count == IMAGES  # of the first evaluation
    assert "too little memory" in caplog.text
    latents = replay(setup.chain, sampled, conditioning, weights, setup.inner)
    assert relative(setup.gradient(latents), expected) < 1e-10


def test_other_errors_are_not_taken_for_too_little_memory(tiny_pipeline: StableDiffusionPipeline) -> None:
    setup = Setup(tiny_pipeline, "both", "dpm", torch.float64)
    conditioning = setup.conditioning()
    setup.backbone.register_forward_pre_hook(lambda module, inputs: torch.ones(2) + torch.ones(3))
    with pytest.raises(RuntimeError, match="must match the size"):
        rollout(setup.chain, setup.noise, conditioning, keep=keeper(100, conditioning))
