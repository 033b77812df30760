from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from diffusers import StableDiffusionPipeline
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor

from fairlit.adaptors import Lora
from fairlit.training.distributed.sharding import outermost_blocks, shard_frozen


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[DeviceMesh]:
    """A process group of this process alone."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


def test_blocks_are_those_of_the_architectures(tiny_pipeline: StableDiffusionPipeline) -> None:
    unet, text_encoder = tiny_pipeline.unet, tiny_pipeline.text_encoder
    middle = unet.mid_block
    blocks = [*unet.down_blocks, *unet.up_blocks, *middle.attentions, *middle.resnets]
    assert list(outermost_blocks(unet)) == blocks
    assert len(list(outermost_blocks(text_encoder))) == text_encoder.config.num_hidden_layers


def test_only_the_adaptor_stays_whole(tiny_pipeline: StableDiffusionPipeline, mesh: DeviceMesh) -> None:
    unet, embeddings = tiny_pipeline.unet, torch.randn(1, 5, 32)
    adaptor = Lora(rank=2, text_encoder=False, unet=True)
    adaptor.attach(tiny_pipeline)
    inputs = (torch.randn(1, 4, 16, 16), torch.tensor([3]), embeddings)
    expected = unet(*inputs).sample
    shard_frozen([unet], mesh, adaptor.parameters().values())
    own = {id(parameter) for parameter in adaptor.parameters().values()}
    assert all(isinstance(parameter, DTensor) != (id(parameter) in own) for parameter in unet.parameters())
    torch.testing.assert_close(unet(*inputs).sample, expected)
