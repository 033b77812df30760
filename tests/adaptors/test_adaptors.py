"""What holds for every kind of adaptor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from jsonargparse import ArgumentParser
from torch import Tensor

from fairlit.adaptors import Adaptor, AdaptorMetadata, Lora, SoftTokens, load_adaptor, verify_saved
from fairlit.adaptors.lora import TEXT_ENCODER_MODULES
from fairlit.diffusion import Backbone
from fairlit.errors import CheckpointError

MakeAdaptor = Callable[[], Adaptor]
Open = Callable[[], StableDiffusionPipeline]
Generate = Callable[..., Tensor]
Train = Callable[[Adaptor], None]
PROMPT = "a photo of the face of a doctor"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"class_path": "fairlit.adaptors.Lora", "init_args": {"rank": 8, "alpha": 4, "unet_modules": ["to_q"]}},
            {"rank": 8, "alpha": 4.0, "modules": {"text_encoder": TEXT_ENCODER_MODULES}},
        ),
        (
            {"class_path": "fairlit.adaptors.SoftTokens", "init_args": {"count": 2}},
            {"tokens": ("<fairlit>", "<fairlit>_1")},
        ),
    ],
)
def test_config_files_describe_adaptors(config: dict[str, object], expected: dict[str, object]) -> None:
    parser = ArgumentParser()
    parser.add_subclass_arguments(Adaptor, "adaptor")
    adaptor = parser.instantiate_classes(parser.parse_object({"adaptor": config})).adaptor
    assert {name: getattr(adaptor, name) for name in expected} == expected


def test_only_the_adaptor_is_trainable(make_adaptor: MakeAdaptor, tiny_pipeline: StableDiffusionPipeline) -> None:
    adaptor = make_adaptor()
    adaptor.attach(tiny_pipeline)
    trainable = {
        id(parameter)
        for name in ("text_encoder", "unet", "vae")
        for parameter in getattr(tiny_pipeline, name).parameters()
        if parameter.requires_grad
    }
    assert trainable == {id(parameter) for parameter in adaptor.parameters().values()}
    assert all(parameter.dtype == torch.float32 for parameter in adaptor.parameters().values())


def test_another_default_device_does_not_matter(make_adaptor: MakeAdaptor, open_pipeline: Open) -> None:
    """Lightning attaches with a GPU as default device; `meta` stands for it on machines without one."""
    adaptor, expected, pipeline = make_adaptor(), make_adaptor(), open_pipeline()
    expected.attach(open_pipeline())
    with torch.device("meta"):
        adaptor.attach(pipeline)
    for name, parameter in adaptor.parameters().items():
        assert torch.equal(parameter, expected.parameters()[name]), name


def test_disabled_is_the_original_bit_for_bit(
    make_adaptor: MakeAdaptor, open_pipeline: Open, generate: Generate, train: Train
) -> None:
    original = generate(open_pipeline())
    pipeline, adaptor = open_pipeline(), make_adaptor()
    adaptor.attach(pipeline)
    train(adaptor)
    adapted = generate(pipeline, adaptor.pipeline_prompt(PROMPT))
    assert (adapted - original).abs().max() > 1e-3
    with adaptor.disabled():
        assert not adaptor.enabled
        assert adaptor.adapt_prompt(PROMPT) == PROMPT
        assert torch.equal(generate(pipeline), original)
        with adaptor.disabled():
            pass
        assert torch.equal(generate(pipeline), original)  # leaving the inner block changes nothing
        assert all(parameter.requires_grad for parameter in adaptor.parameters().values())
    assert adaptor.enabled
    assert torch.equal(generate(pipeline, adaptor.pipeline_prompt(PROMPT)), adapted)


def test_disabled_comes_back_after_an_exception(
    make_adaptor: MakeAdaptor, tiny_pipeline: StableDiffusionPipeline, generate: Generate, train: Train
) -> None:
    adaptor = make_adaptor()
    adaptor.attach(tiny_pipeline)
    train(adaptor)
    adapted = generate(tiny_pipeline, adaptor.pipeline_prompt(PROMPT))
    with pytest.raises(KeyError), adaptor.disabled():
        raise KeyError("from inside")
    assert adaptor.enabled
    assert torch.equal(generate(tiny_pipeline, adaptor.pipeline_prompt(PROMPT)), adapted)


def test_saved_files_give_the_same_image_in_a_stock_pipeline(
    make_adaptor: MakeAdaptor, open_pipeline: Open, generate: Generate, train: Train, tmp_path: Path
) -> None:
    pipeline, adaptor = open_pipeline(), make_adaptor()
    adaptor.attach(pipeline)
    train(adaptor)
    trained = generate(pipeline, adaptor.pipeline_prompt(PROMPT))
    adaptor.save(tmp_path, pipeline, AdaptorMetadata())
    stock = open_pipeline()
    if isinstance(adaptor, Lora):
        stock.load_lora_weights(str(tmp_path))
    else:
        stock.load_textual_inversion(str(tmp_path))
    assert (generate(stock, adaptor.pipeline_prompt(PROMPT)) - trained).abs().max() < 1e-5
    public = load_adaptor(open_pipeline(), tmp_path)
    assert (generate(public, adaptor.pipeline_prompt(PROMPT)) - trained).abs().max() < 1e-5


def test_load_brings_back_what_was_saved(
    make_adaptor: MakeAdaptor, open_pipeline: Open, train: Train, tmp_path: Path
) -> None:
    pipeline, adaptor = open_pipeline(), make_adaptor()
    adaptor.attach(pipeline)
    train(adaptor)
    (file,) = adaptor.save(tmp_path, pipeline, AdaptorMetadata())
    other = make_adaptor()
    other.attach(open_pipeline())
    assert list(other.parameters()) == list(adaptor.parameters())
    for path in (file, tmp_path):
        with torch.no_grad():
            for parameter in other.parameters().values():
                parameter.fill_(7.0)
        other.load(path)
        for name, parameter in other.parameters().items():
            assert torch.equal(parameter, adaptor.parameters()[name])


def test_load_refuses_all_or_takes_all(make_adaptor: MakeAdaptor, open_pipeline: Open, tmp_path: Path) -> None:
    pipeline, adaptor = open_pipeline(), make_adaptor()
    adaptor.attach(pipeline)
    adaptor.save(tmp_path, pipeline, AdaptorMetadata())
    before = {name: parameter.detach().clone() for name, parameter in adaptor.parameters().items()}
    other = Lora(rank=9, unet=True) if isinstance(adaptor, Lora) else SoftTokens(count=7, token=adaptor.token)
    other.attach(open_pipeline())
    with pytest.raises(
        CheckpointError, match=r"tensor '.*' has shape \[.*\].*needs \[.*\]|'.*' of shape .* is missing"
    ):
        other.load(tmp_path)
    with pytest.raises(CheckpointError, match="no such file"):
        adaptor.load(tmp_path / "elsewhere")
    assert all(torch.equal(parameter, before[name]) for name, parameter in adaptor.parameters().items())


def test_twin_has_settings_and_values(
    make_adaptor: MakeAdaptor, open_pipeline: Open, generate: Generate, train: Train
) -> None:
    first, second, adaptor = open_pipeline(), open_pipeline(), make_adaptor()
    adaptor.attach(first)
    train(adaptor)
    twin = adaptor.twin(second)
    assert json.loads(json.dumps(twin.describe())) == adaptor.describe()
    prompt = adaptor.pipeline_prompt(PROMPT)
    assert torch.equal(generate(first, prompt), generate(second, prompt))


def test_attach_is_seeded_and_leaves_the_global_generator_alone(make_adaptor: MakeAdaptor, open_pipeline: Open) -> None:
    values = []
    for global_seed in (0, 1):
        torch.manual_seed(global_seed)
        state = torch.get_rng_state()
        adaptor = make_adaptor()
        adaptor.attach(open_pipeline())
        assert torch.equal(torch.get_rng_state(), state)
        values.append(torch.cat([parameter.detach().flatten() for parameter in adaptor.parameters().values()]))
    assert torch.equal(*values)
    assert values[0].std() > 0


def test_wrong_order_of_calls_is_said(make_adaptor: MakeAdaptor, tiny_pipeline: StableDiffusionPipeline) -> None:
    adaptor = make_adaptor()
    with pytest.raises(RuntimeError, match="not attached"):
        adaptor.parameters()
    with pytest.raises(RuntimeError, match="not attached"), adaptor.disabled():
        pass
    adaptor.attach(tiny_pipeline)
    with pytest.raises(RuntimeError, match="attached already"):
        adaptor.attach(tiny_pipeline)


def test_works_on_a_backbone_as_on_a_pipeline(
    make_adaptor: MakeAdaptor, tiny_pipeline: StableDiffusionPipeline, train: Train
) -> None:
    adaptor = make_adaptor()
    backbone = Backbone(tiny_pipeline)
    adaptor.attach(backbone)
    train(adaptor)
    expected, _ = tiny_pipeline.encode_prompt(
        adaptor.pipeline_prompt(PROMPT), "cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    backbone.prompt_padding = "max_length"
    assert torch.equal(backbone.encode([adaptor.adapt_prompt(PROMPT)])["prompt_embeds"], expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_precision_of_the_model_and_of_what_is_trained(
    make_adaptor: MakeAdaptor, dtype: torch.dtype, open_pipeline: Open, train: Train, tmp_path: Path
) -> None:
    pipeline, adaptor = open_pipeline(), make_adaptor()
    for name in ("text_encoder", "unet", "vae"):
        getattr(pipeline, name).to(dtype)
    adaptor.attach(pipeline)
    expected = torch.float32 if dtype == torch.bfloat16 else torch.float64
    assert {parameter.dtype for parameter in adaptor.parameters().values()} == {expected}
    assert pipeline.text_encoder.dtype == pipeline.unet.dtype == dtype
    train(adaptor)
    adaptor.save(tmp_path, pipeline, AdaptorMetadata())
    verify_saved(adaptor, tmp_path, pipeline)
    embeddings = pipeline.text_encoder(torch.tensor([pipeline.tokenizer(adaptor.adapt_prompt(PROMPT)).input_ids]))[0]
    output = pipeline.unet(torch.randn(1, 4, 16, 16, dtype=dtype), torch.tensor([500]), embeddings)[0]
    assert output.dtype == dtype
    output.float().square().sum().backward()
    assert any(parameter.grad.abs().sum() > 0 for parameter in adaptor.parameters().values())
