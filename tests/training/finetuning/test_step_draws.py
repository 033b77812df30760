"""What a step draws depends on the seed and the iteration alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from fairlit.adaptors import Lora
from fairlit.data import PromptBatch
from fairlit.data.prompts.datamodule import PromptMix
from fairlit.diffusion import Backbone
from fairlit.functional import TargetDistribution
from fairlit.functional.sampling.noise import keyed_noise
from fairlit.training import Gradient, Sampling
from fairlit.training.distributed import ranks
from fairlit.training.finetuning.sampler import Sampler
from fairlit.training.finetuning.step_draws import crop_draws, draw_step, pooled_keys, targets_seed

TARGET = TargetDistribution({"gender": {"female": 0.5, "male": 0.5}})


def batch(index: int) -> PromptBatch:
    return PromptBatch(index, "a doctor", "occupations", TARGET, [(0, 0, index, image) for image in range(3)])


@pytest.fixture
def sampler(tiny_pipeline: StableDiffusionPipeline) -> Sampler:
    sampling = Sampling(min_steps=3, max_steps=9)
    return Sampler(Backbone(tiny_pipeline), Lora(rank=2), sampling=sampling, gradient=Gradient())


def test_steps_and_noise_are_named_by_seed_and_iteration(sampler: Sampler) -> None:
    for index in range(4):
        draw = draw_step(batch(index), sampler, noise_pool=None, seed=7)
        assert draw.num_steps == np.random.default_rng((7, 3, index)).integers(3, 10)
        assert (draw.prompt, draw.index, draw.keys) == ("a doctor", index, batch(index).keys)
        assert torch.equal(draw.noise, keyed_noise(draw.keys, sampler.backbone.latent_shape(None)))
    mixed = batch(0)._replace(mix=PromptMix("a nurse", 0.25))
    assert draw_step(mixed, sampler, noise_pool=None, seed=7).mix == ("a nurse", 0.25)
    assert targets_seed(7, 2) == np.random.default_rng((7, 4, 2)).integers(2**31)


def test_guidance_scales_are_drawn_evenly_in_their_logarithm(sampler: Sampler) -> None:
    assert draw_step(batch(0), sampler, noise_pool=None, seed=7).guidance_scale == 7.5
    sampler.sampling = replace(sampler.sampling, min_guidance_scale=1.5, max_guidance_scale=6.0)
    drawn = [draw_step(batch(index), sampler, noise_pool=None, seed=7) for index in range(200)]
    again = draw_step(batch(3), sampler, noise_pool=None, seed=7)
    assert again.guidance_scale == drawn[3].guidance_scale
    scales = np.array([draw.guidance_scale for draw in drawn])
    assert 1.5 <= scales.min() < 1.55
    assert 5.8 < scales.max() <= 6.0
    assert 0.4 < (scales < 3.0).mean() < 0.6  # half of the doublings
    assert [draw.num_steps for draw in drawn[:4]] == [
        np.random.default_rng((7, 3, index)).integers(3, 10) for index in range(4)
    ]
    pooled = [draw_step(batch(index), sampler, noise_pool=2, seed=7) for index in range(12)]
    assert len({(tuple(draw.keys), draw.guidance_scale) for draw in pooled}) == 2


def test_crops_move_by_image_on_however_many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = torch.tensor([2, 0, 1, 1])
    whole = crop_draws(7, 3, counts)
    assert whole.shape == (4, 3)
    assert whole.abs().max() <= 1
    assert len(whole.unique()) == whole.numel()
    monkeypatch.setattr(ranks, "world_size", lambda: 2)
    parts = []
    for rank in range(2):
        monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
        parts.append(crop_draws(7, 3, counts[rank::2]))
    assert torch.equal(torch.cat(parts), whole)  # images 0 and 2, then 1 (no face) and 3
    assert not torch.equal(crop_draws(7, 4, counts)[0], whole[0])


def test_with_a_pool_noise_and_steps_come_again_together(sampler: Sampler) -> None:
    draws = [draw_step(batch(index), sampler, noise_pool=2, seed=0) for index in range(12)]
    sets = {(tuple(draw.keys), draw.num_steps) for draw in draws}
    assert len(sets) == 2
    first, again = next((one, other) for one in draws for other in draws if one is not other and one.keys == other.keys)
    assert torch.equal(first.noise, again.noise)


def test_a_pool_has_as_many_sets_of_noise_as_it_says() -> None:
    keys = [(0, 0, 17, image) for image in range(3)]
    drawn = [pooled_keys(keys, 4, (0, 5), index=index) for index in range(200)]
    names = {name for name, _ in drawn}
    assert len(names) == 4
    for name, pooled in drawn:
        assert pooled == [(*name, image) for image in range(3)]
