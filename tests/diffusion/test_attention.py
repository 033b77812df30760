from __future__ import annotations

import math

import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.models.attention_processor import Attention
from torch.nn.attention import SDPBackend

from fairlit.diffusion import Backbone
from fairlit.diffusion import attention as module
from fairlit.diffusion.attention import BackendAttnProcessor, choose_attention, fastest_backend

CPU = torch.device("cpu")


def test_every_attention_gets_the_kernel_of_its_head_size(tiny_pipeline: StableDiffusionPipeline) -> None:
    backbone = Backbone(tiny_pipeline)
    shape = backbone.latent_shape()
    states, times = torch.randn(2, *shape), torch.tensor([3, 500])
    prompts = backbone.encode(["", "a photo"])
    expected = backbone(states, times, prompts)
    chosen = choose_attention(backbone.unet, shape[-1] ** 2, 4, dtype=torch.float32)
    attentions = [part for part in backbone.unet.modules() if isinstance(part, Attention)]
    assert set(chosen) == {part.inner_dim // part.heads for part in attentions}
    for part in attentions:
        assert isinstance(part.processor, BackendAttnProcessor)
        assert part.processor.backend is chosen[part.inner_dim // part.heads]
    torch.testing.assert_close(backbone(states, times, prompts), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("backend", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION])
def test_a_kernel_that_cannot_makes_way_for_the_plain_one(
    tiny_pipeline: StableDiffusionPipeline, backend: SDPBackend
) -> None:
    backbone = Backbone(tiny_pipeline)
    states, times = torch.randn(1, *backbone.latent_shape()), torch.tensor([3])
    prompts = backbone.encode(["a photo"])
    expected = backbone(states, times, prompts)
    for part in backbone.unet.modules():
        if isinstance(part, Attention):
            part.set_processor(BackendAttnProcessor(backend))
    torch.testing.assert_close(backbone(states, times, prompts), expected, atol=1e-5, rtol=1e-5)


def test_the_fastest_that_works_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fastest_backend((1, 2, 16, 8), torch.float32, CPU) in (SDPBackend.FLASH_ATTENTION, SDPBackend.MATH)
    assert math.isinf(module._seconds(SDPBackend.CUDNN_ATTENTION, (1, 2, 16, 8), torch.float32, CPU))
    seconds = {SDPBackend.FLASH_ATTENTION: 2.0, SDPBackend.MATH: 3.0, SDPBackend.EFFICIENT_ATTENTION: 1.0}
    monkeypatch.setattr(module, "_seconds", lambda backend, *rest: seconds.get(backend, math.inf))
    assert fastest_backend((1, 2, 16, 8), torch.float32, CPU) is SDPBackend.EFFICIENT_ATTENTION
