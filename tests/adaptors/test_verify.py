"""A saved file that is not the adaptor must not pass."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from fairlit.adaptors import Adaptor, AdaptorMetadata, Lora, fresh_pipeline, load_adaptor, verify_saved
from fairlit.adaptors.files import LORA_CONFIG_KEY, read_tensors, write_tensors
from fairlit.errors import CheckpointError

Open = Callable[[], StableDiffusionPipeline]
Train = Callable[[Adaptor], None]
PROMPT = "a photo of the face of a doctor"


@pytest.fixture
def trained(
    make_adaptor: Callable[[], Adaptor], open_pipeline: Open, train: Train, tmp_path: Path
) -> tuple[Adaptor, StableDiffusionPipeline, Path]:
    pipeline, adaptor = open_pipeline(), make_adaptor()
    adaptor.attach(pipeline)
    train(adaptor)
    adaptor.save(tmp_path, pipeline, AdaptorMetadata())
    return adaptor, pipeline, tmp_path


def test_passes_and_leaves_no_trace(
    trained: tuple[Adaptor, StableDiffusionPipeline, Path], generate: Callable[..., Tensor]
) -> None:
    adaptor, pipeline, folder = trained
    state, image = torch.get_rng_state(), generate(pipeline, adaptor.pipeline_prompt(PROMPT))
    weights = {name: value.clone() for name, value in pipeline.text_encoder.state_dict().items()}
    config = pipeline.text_encoder.config.to_dict()
    assert verify_saved(adaptor, folder, pipeline) <= 1e-5
    assert pipeline.text_encoder.config.to_dict() == config
    assert torch.equal(torch.get_rng_state(), state)
    after = pipeline.text_encoder.state_dict()
    assert list(after) == list(weights)
    assert all(torch.equal(after[name], value) for name, value in weights.items())
    assert torch.equal(generate(pipeline, adaptor.pipeline_prompt(PROMPT)), image)


def test_fresh_pipeline_is_the_original_over_the_same_memory(
    trained: tuple[Adaptor, StableDiffusionPipeline, Path], open_pipeline: Open, generate: Callable[..., Tensor]
) -> None:
    adaptor, pipeline, folder = trained
    fresh = fresh_pipeline(adaptor, pipeline)
    original = open_pipeline()
    assert torch.equal(generate(fresh), generate(original))
    assert list(fresh.unet.state_dict()) == list(original.unet.state_dict())
    assert list(fresh.text_encoder.state_dict()) == list(original.text_encoder.state_dict())
    assert len(fresh.tokenizer) == len(original.tokenizer)
    assert fresh.unet.conv_in.weight.data_ptr() == pipeline.unet.conv_in.weight.data_ptr()
    adapted = generate(pipeline, adaptor.pipeline_prompt(PROMPT))
    load_adaptor(fresh, folder)
    assert torch.equal(generate(pipeline, adaptor.pipeline_prompt(PROMPT)), adapted)


def test_a_tensor_that_differs_is_named(trained: tuple[Adaptor, StableDiffusionPipeline, Path]) -> None:
    adaptor, pipeline, folder = trained
    name, parameter = list(adaptor.parameters().items())[-1]
    with torch.no_grad():
        parameter.view(-1)[0] += 1e-6
    with pytest.raises(CheckpointError) as caught:
        verify_saved(adaptor, folder, pipeline)
    assert f"tensor '{name}' is not what the adaptor holds" in str(caught.value)


def test_a_lost_alpha_is_caught(open_pipeline: Open, train: Train, tmp_path: Path) -> None:
    """The tensors alone are right here; without alpha in the header a stock pipeline scales them differently."""
    pipeline, adaptor = open_pipeline(), Lora(rank=4, alpha=8)
    adaptor.attach(pipeline)
    train(adaptor)
    (path,) = adaptor.save(tmp_path, pipeline, AdaptorMetadata())
    tensors, header = read_tensors(path)
    config = {**json.loads(header.pop(LORA_CONFIG_KEY)), "text_encoder.lora_alpha": 4.0}
    write_tensors(path, tensors, {**header, LORA_CONFIG_KEY: json.dumps(config)})
    with pytest.raises(CheckpointError, match=r"update of layer .* got another one"):
        verify_saved(adaptor, tmp_path, pipeline)


def test_not_while_disabled_or_without_a_file(
    trained: tuple[Adaptor, StableDiffusionPipeline, Path], tmp_path: Path
) -> None:
    adaptor, pipeline, folder = trained
    with adaptor.disabled(), pytest.raises(RuntimeError, match="is disabled"):
        verify_saved(adaptor, folder, pipeline)
    with pytest.raises(CheckpointError, match="no such file"):
        verify_saved(adaptor, tmp_path / "elsewhere", pipeline)


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    """A process group of one."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("process_group")
def test_a_sharded_model_is_stood_for_by_a_whole_one(
    trained: tuple[Adaptor, StableDiffusionPipeline, Path], open_pipeline: Open
) -> None:
    adaptor, pipeline, folder = trained
    own = set(adaptor.parameters().values())
    for module in (pipeline.unet, pipeline.text_encoder):
        fully_shard(module, mesh=init_device_mesh("cpu", (1,)), ignored_params=own)
    adaptor.save(folder, pipeline, AdaptorMetadata())
    with pytest.raises(RuntimeError, match="give `open_base`"):
        verify_saved(adaptor, folder, pipeline)
    assert verify_saved(adaptor, folder, pipeline, open_base=open_pipeline) <= 1e-5
