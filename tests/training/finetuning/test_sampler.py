"""Sampling by the adapted and by the original model."""

from __future__ import annotations

import pytest
import torch
from diffusers import StableDiffusionPipeline
from finetuning import finetuner

from fairlit.adaptors import Lora, SoftTokens
from fairlit.data.prompts.datamodule import PromptMix
from fairlit.diffusion import Backbone, Conditioning
from fairlit.training import Gradient, Sampling
from fairlit.training.finetuning.sampler import Sampler


@pytest.mark.parametrize(
    ("adaptor", "joined"),
    [(Lora(rank=2), True), (Lora(rank=2, unet=True), False), (SoftTokens(count=2), False)],
    ids=["text encoder", "unet", "soft tokens"],
)
def test_one_batch_for_both_where_weights_and_lengths_agree(adaptor: Lora | SoftTokens, joined: bool) -> None:
    module = finetuner(adaptor)
    module.configure_model()
    sampler = module.sampler
    generator = torch.Generator().manual_seed(0)
    for parameter in adaptor.parameters().values():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    noise = sampler.noise([(0, 1), (0, 2), (0, 3)], 3)
    new = sampler.conditioning("a photo of a doctor", 3)
    old = sampler.original_conditioning("a photo of a doctor", 3)
    calls: list[int] = []
    module.backbone.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
    together = sampler.sample(3, noise, new, references=old, together=True)
    count = len(calls)
    apart = sampler.sample(3, noise, new, references=old, together=False)
    assert count == (3 if joined else 6)
    assert len(calls) - count == 6
    assert together.references is not None
    assert apart.references is not None
    torch.testing.assert_close(together.latents, apart.latents, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(together.references, apart.references, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(together.latents, together.references, atol=1e-3)
    assert together.rollout is not None
    torch.testing.assert_close(together.rollout.states[0], noise)


@pytest.mark.parametrize("adaptor", [Lora(rank=2), SoftTokens(count=2)], ids=["text encoder", "soft tokens"])
def test_prompts_between_two_are_read_by_both_models(
    adaptor: Lora | SoftTokens, tiny_pipeline: StableDiffusionPipeline
) -> None:
    backbone = Backbone(tiny_pipeline)
    original = backbone.encode_mixed(["", "a doctor"], ["", "a nurse"], 0.25)
    adaptor.attach(backbone)
    sampler = Sampler(backbone, adaptor, sampling=Sampling(), gradient=Gradient())
    mix = PromptMix("a nurse", 0.25)
    unadapted = sampler.original_conditioning("a doctor", 3, mix).prompts
    torch.testing.assert_close(unadapted, original, atol=0, rtol=0)
    generator = torch.Generator().manual_seed(0)
    for parameter in adaptor.parameters().values():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    adapted = sampler.conditioning("a doctor", 3, mix).prompts["prompt_embeds"]
    alone = sampler.conditioning("a doctor", 3).prompts["prompt_embeds"]
    assert adapted.shape == alone.shape
    assert not torch.allclose(adapted[1], alone[1], atol=1e-4)
    adapted.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in adaptor.parameters().values())
    torch.testing.assert_close(sampler.original_conditioning("a doctor", 3, mix).prompts, original)


def test_joined_conditionings_keep_their_own_unconditional_prompts() -> None:
    first = Conditioning.of_one_prompt({"prompt_embeds": torch.zeros(2, 3, 4), "pooled": torch.zeros(2, 5)}, 2)
    second = Conditioning.of_one_prompt({"prompt_embeds": torch.ones(2, 3, 4), "pooled": torch.ones(2, 5)}, 1)
    both = Conditioning.join(first, second)
    for tensor in both.prompts.values():
        assert tensor[both.rows].flatten(1).mean(1).tolist() == [0, 0, 1]
        assert tensor[both.unconditional].flatten(1).mean(1).tolist() == [0, 0, 1]
    assert both.rows.tolist() == [1, 1, 3]
    assert both.unconditional.tolist() == [0, 0, 2]
