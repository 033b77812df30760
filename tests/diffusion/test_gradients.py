"""The replayed gradient against the detached graph, the full gradient against finite differences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from chain_setup import ADAPTORS, IMAGES, SCHEDULERS, STEPS, Setup, relative
from diffusers import StableDiffusionPipeline

from fairlit.diffusion import Backbone, Chain, Conditioning, Pairs, detached_graph, full_graph, replay, rollout
from fairlit.diffusion.sample_counter import SampleCounter
from fairlit.functional.sampling.solver import linear_solver, output_weights
from fairlit.functional.sampling.step_subsets import stratified_evaluations

MINIATURE = Path(__file__).parents[2] / "checkpoints" / "miniature" / "pipeline"


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("adaptor", ADAPTORS)
def test_replay_equals_detached_graph(tiny_pipeline: StableDiffusionPipeline, adaptor: str, scheduler: str) -> None:
    setup = Setup(tiny_pipeline, adaptor, scheduler, torch.float64)
    weights = output_weights(setup.scheduler, STEPS, "uniform")
    expected = setup.gradient(detached_graph(setup.chain, setup.noise, setup.conditioning(), weights=weights))
    assert expected.norm() > 1e-3
    for micro_batch in (1, 5, STEPS * IMAGES):
        assert relative(setup.replayed(weights, micro_batch), expected) < 1e-10


@pytest.mark.parametrize("scheduler", ["dpm", "ddim", "euler"])
@pytest.mark.parametrize("adaptor", ["text encoder", "unet", "soft tokens"])
def test_replay_equals_detached_graph_on_the_miniature(adaptor: str, scheduler: str) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(MINIATURE, local_files_only=True)
    setup = Setup(pipeline, adaptor, scheduler, torch.float64)
    weights = output_weights(setup.scheduler, STEPS, "uniform")
    expected = setup.gradient(detached_graph(setup.chain, setup.noise, setup.conditioning(), weights=weights))
    assert relative(setup.replayed(weights, 5), expected) < 1e-10


@pytest.mark.parametrize("adaptor", ["text encoder", "unet", "soft tokens"])
def test_replay_equals_detached_graph_on_the_miniature_in_float32(adaptor: str) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(MINIATURE, local_files_only=True)
    setup = Setup(pipeline, adaptor, "dpm", torch.float32)
    weights = output_weights(setup.scheduler, STEPS, "uniform")
    expected = setup.gradient(detached_graph(setup.chain, setup.noise, setup.conditioning(), weights=weights))
    assert relative(setup.replayed(weights, 5), expected) < 1e-4


@pytest.mark.parametrize("scheme", ["uniform", "reference", "natural"])
def test_replay_equals_detached_graph_in_float32(tiny_pipeline: StableDiffusionPipeline, scheme: Any) -> None:
    setup = Setup(tiny_pipeline, "both", "dpm", torch.float32)
    weights = output_weights(setup.scheduler, STEPS, scheme)
    graph = detached_graph(setup.chain, setup.noise, setup.conditioning(), weights=weights, checkpointing=False)
    assert relative(setup.replayed(weights, 4), setup.gradient(graph)) < 1e-4


@pytest.mark.parametrize("adaptor", ADAPTORS)
def test_full_gradient_agrees_with_finite_differences(tiny_pipeline: StableDiffusionPipeline, adaptor: str) -> None:
    setup = Setup(tiny_pipeline, adaptor, "dpm", torch.float64)
    gradient = setup.gradient(full_graph(setup.chain, setup.noise, setup.conditioning()))
    generator = torch.Generator().manual_seed(2)
    directions = [torch.randn(p.shape, generator=generator).to(p) for p in setup.parameters]
    step, values = 1e-5, []
    for sign in (1, -1):
        for parameter, direction in zip(setup.parameters, directions, strict=True):
            parameter.data += sign * step * direction
        values.append(setup.loss(rollout(setup.chain, setup.noise, setup.conditioning()).latents))
        for parameter, direction in zip(setup.parameters, directions, strict=True):
            parameter.data -= sign * step * direction
    finite = (values[0] - values[1]) / (2 * step)
    analytic = gradient @ torch.cat([d.flatten() for d in directions])
    assert abs(float(finite / analytic) - 1) < 1e-5


def test_one_evaluation_left_is_the_natural_gradient_of_that_evaluation(tiny_pipeline: StableDiffusionPipeline) -> None:
    """Truncated to the last evaluation, full back-propagation has nothing left to go through: k_{S-1} J^T g."""
    setup = Setup(tiny_pipeline, "both", "dpm", torch.float64)
    weights = output_weights(setup.scheduler, STEPS, "natural")
    weights[:-1] = 0
    truncated = full_graph(setup.chain, setup.noise, setup.conditioning(), last_evaluations=1)
    assert relative(setup.replayed(weights, 4), setup.gradient(truncated)) < 1e-10


def test_all_ways_of_sampling_give_the_same_images(tiny_pipeline: StableDiffusionPipeline) -> None:
    setup = Setup(tiny_pipeline, "unet", "dpm", torch.float64)
    conditioning = setup.conditioning()
    expected = rollout(setup.chain, setup.noise, conditioning, max_batch=2).latents
    weights = output_weights(setup.scheduler, STEPS, "uniform")
    for latents in (
        rollout(setup.chain, setup.noise, conditioning).latents,
        detached_graph(setup.chain, setup.noise, conditioning, weights=weights),
        full_graph(setup.chain, setup.noise, conditioning),
    ):
        torch.testing.assert_close(latents, expected)


@pytest.mark.parametrize("scheduler", ["dpm", "ddim", "euler"])
def test_sampling_equals_stock_diffusers(tiny_pipeline: StableDiffusionPipeline, scheduler: str) -> None:
    tiny_pipeline.scheduler = SCHEDULERS[scheduler]
    backbone = Backbone(tiny_pipeline, prompt_padding="max_length")
    noise = torch.randn((2, *backbone.latent_shape()), generator=torch.Generator().manual_seed(0))
    chain = Chain(backbone, linear_solver(backbone.scheduler, 5), guidance_scale=3.0)
    conditioning = Conditioning.of_one_prompt(backbone.encode(["", "a photo of a nurse"]), 2)
    found = backbone.decode(rollout(chain, noise, conditioning).latents)
    stock = tiny_pipeline(
        "a photo of a nurse",
        num_images_per_prompt=2,
        latents=noise,
        num_inference_steps=5,
        guidance_scale=3.0,
        output_type="pt",
    ).images
    torch.testing.assert_close(found, stock, atol=1e-5, rtol=0)


def test_replay_repeats_the_autocast_state_of_the_forward(tiny_pipeline: StableDiffusionPipeline) -> None:
    setup = Setup(tiny_pipeline, "both", "dpm", torch.float32)
    weights = output_weights(setup.scheduler, STEPS, "uniform")
    dtypes: list[torch.dtype] = []
    setup.backbone.unet.mid_block.resnets[0].conv1.register_forward_hook(
        lambda module, inputs, output: dtypes.append(output.dtype)
    )
    conditioning = setup.conditioning()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        sampled = rollout(setup.chain, setup.noise, conditioning)
        latents = replay(setup.chain, sampled, conditioning, weights, setup.inner)
    setup.loss(latents).backward()  # outside of autocast, as Lightning does
    assert len(dtypes) == STEPS + 1
    assert set(dtypes) == {torch.bfloat16}


@pytest.mark.parametrize("adaptor", ["unet", "text encoder"])
def test_random_steps_are_unbiased(tiny_pipeline: StableDiffusionPipeline, adaptor: str) -> None:
    """The mean over n draws is off by a standard error of sqrt(variance / n), in the whole and on average."""
    setup = Setup(tiny_pipeline, adaptor, "dpm", torch.float64)
    weights = output_weights(setup.scheduler, STEPS, "uniform")
    exact = setup.replayed(weights, 16)
    draws = []
    for draw in range(200):
        evaluations = stratified_evaluations(STEPS, 1, IMAGES, seed=(draw,))
        pairs = Pairs.drawn(evaluations, STEPS, setup.noise.device)
        with_gradient = replay(setup.chain, setup.sampled, setup.conditioning(), weights, setup.inner, pairs=pairs)
        draws.append(setup.gradient(with_gradient))
    found = torch.stack(draws)
    spread = found.var(dim=0).sum()
    assert float(spread.sqrt() / exact.norm()) > 0.05  # else the draws would not be random
    # The squared error of a mean of n is spread / n on average; in the worst case, one direction that holds all of the
    # spread, their ratio is a chi-square of one degree, beyond 15 once in ten thousand (averaged over four, beyond 6).
    for count, limit in ((50, 6.0), (200, 15.0)):
        errors = torch.stack([(part.mean(dim=0) - exact).square().sum() for part in found.split(count)])
        assert float(errors.mean() / (spread / count)) < limit
    in_all = found.mean(dim=0) - exact
    assert float((in_all @ exact) / exact.norm() / (found @ exact / exact.norm()).std()) < 4 / 200**0.5


def test_a_compiled_models_batches_have_one_shape(tiny_pipeline: StableDiffusionPipeline) -> None:
    setup = Setup(tiny_pipeline, "both", "dpm", torch.float64)
    weights = output_weights(setup.scheduler, STEPS, "uniform")
    expected = setup.replayed(weights, 16)
    sizes: list[int] = []
    conditioning = setup.conditioning()
    sampled = rollout(setup.chain, setup.noise, conditioning)
    hook = setup.backbone.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    latents = replay(setup.chain, sampled, conditioning, weights, setup.inner, micro_batch=5, fixed_shape=True)
    found = setup.gradient(latents)
    hook.remove()
    assert sizes == [10, 10, 10]  # 12 pairs in three batches of 5, twice for guidance
    assert relative(found, expected) < 1e-10


def test_too_little_memory_halves_the_batches(tiny_pipeline: StableDiffusionPipeline) -> None:
    setup = Setup(tiny_pipeline, "both", "dpm", torch.float64)
    weights = output_weights(setup.scheduler, STEPS, "uniform")
    expected = setup.replayed(weights, 16)
    sizes: list[int] = []

    def refuse(module: Any, inputs: Any) -> None:
        sizes.append(len(inputs[0]) // 2)
        if sizes[-1] > 3:
            raise torch.OutOfMemoryError("full")
        if len(sizes) == 5:
            torch.empty(2**62, dtype=torch.uint8)  # the allocator of CPUs has an error of its own

    conditioning = setup.conditioning()
    sampled = rollout(setup.chain, setup.noise, conditioning)
    latents = replay(setup.chain, sampled, conditioning, weights, setup.inner, micro_batch=12)
    hook = setup.backbone.register_forward_pre_hook(refuse)
    found = setup.gradient(latents)
    assert sizes == [12, 6, 3, 3, 3, *([1] * 6)]
    assert relative(found, expected) < 1e-10
    hook.remove()
    setup.backbone.register_forward_pre_hook(lambda module, inputs: (_ for _ in ()).throw(torch.OutOfMemoryError()))
    conditioning = setup.conditioning()
    with pytest.raises(torch.OutOfMemoryError):
        setup.gradient(replay(setup.chain, sampled, conditioning, weights, setup.inner, micro_batch=2))


@pytest.mark.parametrize("adaptor", ["text encoder", "both"])
def test_model_evaluations_of_the_replay(tiny_pipeline: StableDiffusionPipeline, adaptor: str) -> None:
    """With guidance: 2 n S samples forward to sample, as many forward and backward in the replay, and nothing else."""
    setup = Setup(tiny_pipeline, adaptor, "dpm", torch.float32)
    counter = SampleCounter(setup.backbone.unet.conv_in)
    outer = SampleCounter(setup.backbone)
    conditioning = setup.conditioning()
    sampled = rollout(setup.chain, setup.noise, conditioning)
    assert (counter.forwards, counter.backwards) == (2 * IMAGES * STEPS, 0)
    weights = output_weights(setup.scheduler, STEPS, "uniform")
    setup.gradient(replay(setup.chain, sampled, conditioning, weights, setup.inner, micro_batch=5))
    assert counter.forwards == outer.forwards == 4 * IMAGES * STEPS
    assert outer.backwards == 2 * IMAGES * STEPS


def test_checkpointed_calls_are_made_twice(tiny_pipeline: StableDiffusionPipeline) -> None:
    """What the replay saves: the detached graph computes every evaluation again in the backward pass."""
    setup = Setup(tiny_pipeline, "both", "dpm", torch.float32)
    counter = SampleCounter(setup.backbone)
    weights = output_weights(setup.scheduler, STEPS, "uniform")
    setup.gradient(detached_graph(setup.chain, setup.noise, setup.conditioning(), weights=weights))
    assert counter.forwards == 4 * IMAGES * STEPS
    assert counter.backwards == 2 * IMAGES * STEPS
    assert counter.evaluations == 6 * IMAGES * STEPS
    counter.reset()
    assert counter.evaluations == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU to wait for")
def test_sampling_and_replay_do_not_wait_for_the_gpu(tiny_pipeline: StableDiffusionPipeline) -> None:
    setup = Setup(tiny_pipeline, "both", "dpm", torch.float32)
    setup.backbone.cuda()
    setup.chain = Chain(setup.backbone, setup.chain.solver.to("cuda"), setup.chain.guidance_scale)
    noise, weights = setup.noise.cuda(), output_weights(setup.scheduler, STEPS, "uniform").cuda()
    conditioning = setup.conditioning()
    pairs = Pairs.drawn(stratified_evaluations(STEPS, 2, IMAGES, seed=(0,)), STEPS, noise.device)
    torch.cuda.set_sync_debug_mode("error")
    try:
        sampled = rollout(setup.chain, noise, conditioning)
        latents = replay(setup.chain, sampled, conditioning, weights, setup.inner, micro_batch=4, pairs=pairs)
        torch.autograd.grad(latents.sum(), setup.parameters, allow_unused=True)
    finally:
        torch.cuda.set_sync_debug_mode("default")
