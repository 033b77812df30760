from __future__ import annotations

import shutil

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor

from fairlit.adaptors import Lora
from fairlit.diffusion import Backbone
from fairlit.diffusion.acceleration import compile_unet, use_channels_last, use_checkpointing
from fairlit.diffusion.sample_counter import SampleCounter


def outputs_and_gradients(backbone: Backbone) -> list[Tensor]:
    """Of the U-Net and of the VAE."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, *backbone.latent_shape(), generator=generator)
    embeddings = backbone.encode(["", "a photo"])["prompt_embeds"].detach().requires_grad_()
    predicted = backbone(states, torch.tensor([3, 500]), {"prompt_embeds": embeddings})
    latents = (0.1 * states).requires_grad_()
    images = backbone.decode(latents)
    [through] = torch.autograd.grad(predicted.square().sum(), embeddings)
    [back] = torch.autograd.grad(images.square().sum(), latents)
    return [predicted.detach(), through, images.detach(), back]


def test_channels_last_changes_the_layout_alone(tiny_pipeline: StableDiffusionPipeline) -> None:
    backbone = Backbone(tiny_pipeline)
    expected = outputs_and_gradients(backbone)
    use_channels_last(backbone.unet, backbone.vae)
    assert backbone.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert not backbone.unet.conv_in.weight.is_contiguous()
    torch.testing.assert_close(outputs_and_gradients(backbone), expected, atol=1e-4, rtol=1e-4)


def test_checkpointing_computes_blocks_again_in_eval_mode_too(tiny_pipeline: StableDiffusionPipeline) -> None:
    backbone = Backbone(tiny_pipeline)
    assert not backbone.unet.training
    counters = [SampleCounter(backbone.unet.mid_block.resnets[-1]), SampleCounter(backbone.vae.decoder.mid_block)]
    plain = outputs_and_gradients(backbone)
    assert [counter.forwards for counter in counters] == [2, 2]
    use_checkpointing(backbone, unet=True, vae=True)
    for counter in counters:
        counter.reset()
    torch.testing.assert_close(outputs_and_gradients(backbone), plain, atol=1e-5, rtol=1e-5)
    assert [counter.forwards for counter in counters] == [4, 4]
    use_checkpointing(backbone, unet=False, vae=False)
    for counter in counters:
        counter.reset()
    outputs_and_gradients(backbone)
    assert [counter.forwards for counter in counters] == [2, 2]


@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++", "cl"))), reason="compiling for CPUs needs a compiler")
def test_compiled_with_an_adaptor_switched_on_and_off(tiny_pipeline: StableDiffusionPipeline) -> None:
    # One block with attention and none in the middle: what is compiled costs a second a kernel.
    tiny_pipeline.unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(16,),
        down_block_types=("CrossAttnDownBlock2D",),
        mid_block_type=None,
        up_block_types=("UpBlock2D",),
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=2,
        norm_num_groups=8,
    ).eval()
    backbone = Backbone(tiny_pipeline)
    adaptor = Lora(rank=2, text_encoder=False, unet=True)
    adaptor.attach(backbone)
    for parameter in adaptor.parameters().values():
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(0))
    states = torch.randn(2, *backbone.latent_shape(), generator=torch.Generator().manual_seed(1))
    prompts = backbone.encode(["", "a photo"])

    def run() -> tuple[Tensor, Tensor]:
        on = backbone(states, torch.tensor([3, 500]), prompts)
        with adaptor.disabled():
            return on.detach(), backbone(states, torch.tensor([3, 500]), prompts).detach()

    eager = run()
    assert not torch.allclose(*eager, atol=1e-3)
    names = set(backbone.state_dict())
    torch._dynamo.reset()
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    compile_unet(backbone)
    torch.testing.assert_close(run(), eager, atol=1e-4, rtol=1e-4)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > before
    assert set(backbone.state_dict()) == names
