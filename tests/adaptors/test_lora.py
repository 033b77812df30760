"""LoRA: its arithmetic, its layers, its alpha."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from torch import Tensor, nn

from fairlit.adaptors import Adaptor, AdaptorMetadata, Lora, SoftTokens, read_metadata, verify_saved
from fairlit.errors import CheckpointError, ConfigurationError

Open = Callable[[], StableDiffusionPipeline]


@pytest.mark.parametrize("adaptor", [Lora(rank=4), Lora(rank=4, alpha=2, text_encoder=False, unet=True)])
def test_starts_as_the_identity(adaptor: Lora, open_pipeline: Open, generate: Callable[..., Tensor]) -> None:
    original = generate(open_pipeline())
    pipeline = open_pipeline()
    adaptor.attach(pipeline)
    assert torch.equal(generate(pipeline), original)


def test_equals_weights_merged_by_hand(
    open_pipeline: Open, generate: Callable[..., Tensor], train: Callable[[Adaptor], None], tmp_path: Path
) -> None:
    """W + alpha / rank * B A, written into a plain model from the file's tensors, gives the same image."""
    rank, alpha = 4, 10
    pipeline, adaptor = open_pipeline(), Lora(rank=rank, alpha=alpha, unet=True)
    adaptor.attach(pipeline)
    train(adaptor)
    (path,) = adaptor.save(tmp_path, pipeline, AdaptorMetadata())
    merged = open_pipeline()
    with safe_open(path, framework="pt") as file:
        downs = [name for name in file.keys() if name.endswith(".lora_A.weight")]  # noqa: SIM118
        for down in downs:
            component, _, layer = down.removesuffix(".lora_A.weight").partition(".")
            linear = getattr(merged, component).get_submodule(layer.removeprefix("text_model."))
            update = file.get_tensor(down.replace("lora_A", "lora_B")) @ file.get_tensor(down)
            linear.weight.data += alpha / rank * update
    assert len(downs) == len(adaptor.parameters()) // 2 > 0
    assert (generate(merged) - generate(pipeline)).abs().max() < 1e-4


def test_strength_is_a_factor_on_the_update(
    open_pipeline: Open, generate: Callable[..., Tensor], train: Callable[[Adaptor], None]
) -> None:
    """Strength s of alpha a is strength 1 of alpha s a; nothing is left of it after the block, nor after an error."""
    pipeline, adaptor = open_pipeline(), Lora(rank=4, alpha=8, unet=True)
    original = generate(pipeline)
    adaptor.attach(pipeline)
    train(adaptor)
    trained = generate(pipeline)
    other_pipeline, other = open_pipeline(), Lora(rank=4, alpha=4, unet=True)
    other.attach(other_pipeline)
    for name, parameter in other.parameters().items():
        parameter.data.copy_(adaptor.parameters()[name])
    with adaptor.scaled(0.5):
        assert torch.equal(generate(pipeline), generate(other_pipeline))
        with adaptor.scaled(0.0):
            assert (generate(pipeline) - original).abs().max() < 1e-6
    assert torch.equal(generate(pipeline), trained)
    with pytest.raises(KeyError), adaptor.scaled(3.0):
        raise KeyError
    assert torch.equal(generate(pipeline), trained)
    with (
        pytest.raises(ConfigurationError, match=r"strength: got 0\.5 for SoftTokens, which has none; expected 1"),
        SoftTokens().scaled(0.5),
    ):
        pass


def test_adapts_the_layers_of_the_paper(tiny_pipeline: StableDiffusionPipeline) -> None:
    """Text encoder: attention and MLP, every linear layer it has. U-Net: the attention projections alone."""
    encoder_layers = {n for n, m in tiny_pipeline.text_encoder.named_modules() if isinstance(m, nn.Linear)}
    unet_layers = {
        name
        for name, module in tiny_pipeline.unet.named_modules()
        if isinstance(module, nn.Linear) and (".attn1." in name or ".attn2." in name)
    }
    adaptor = Lora(rank=5, unet=True)
    adaptor.attach(tiny_pipeline)
    adapted = {name.rsplit(".lora_", 1)[0] for name in adaptor.parameters()}
    assert adapted == {f"text_encoder.text_model.{n}" for n in encoder_layers} | {f"unet.{n}" for n in unet_layers}
    assert {p.shape[0] for n, p in adaptor.parameters().items() if "lora_A" in n} == {5}


def test_alpha_survives(open_pipeline: Open, tmp_path: Path) -> None:
    pipeline, adaptor = open_pipeline(), Lora(rank=4, alpha=6, unet=True)
    adaptor.attach(pipeline)
    (path,) = adaptor.save(tmp_path, pipeline, AdaptorMetadata())
    with safe_open(path, framework="pt") as file:
        stock = json.loads(file.metadata()["lora_adapter_metadata"])
    assert stock["text_encoder.lora_alpha"] == stock["unet.lora_alpha"] == 6
    assert read_metadata(path).alpha == 6
    loaded = open_pipeline()
    loaded.load_lora_weights(str(tmp_path))
    layer = loaded.text_encoder.get_submodule("encoder.layers.0.mlp.fc1")
    assert layer.scaling == {"default_0": 6 / 4}
    other = Lora(rank=4, alpha=4, unet=True)
    other.attach(open_pipeline())
    with pytest.raises(CheckpointError, match="trained with alpha 6, this adaptor has alpha 4; set alpha to 6"):
        other.load(path)


def test_mismatch_names_the_first_wrong_tensor_and_both_shapes(open_pipeline: Open, tmp_path: Path) -> None:
    pipeline, adaptor = open_pipeline(), Lora(rank=4)
    adaptor.attach(pipeline)
    adaptor.save(tmp_path, pipeline, AdaptorMetadata())
    first = next(iter(adaptor.parameters()))
    for other, message in (
        (Lora(rank=2), rf"tensor '{first}' has shape \[4, 32\], the model needs \[2, 32\]"),
        (
            Lora(rank=4, text_encoder_modules=["q_proj"]),
            r"tensor '.*fc1.*' of shape \[4, 32\] has no place",
        ),
        (Lora(rank=4, unet=True), r"tensor 'unet\..*' of shape .* is missing \(24 tensors found, 88 expected\)"),
    ):
        other.attach(open_pipeline())
        with pytest.raises(CheckpointError, match=message):
            other.load(tmp_path)


def test_bad_arguments_are_refused_together() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Lora(rank=0, alpha=-1.0, unet=True, text_encoder_modules=[], unet_modules=[""])
    message = str(caught.value)
    for part in ("rank: got 0", "alpha is -1.0", "text_encoder_modules is []", "unet_modules is ['']"):
        assert part in message
    with pytest.raises(ConfigurationError, match="all false"):
        Lora(text_encoder=False)
    with pytest.raises(ConfigurationError, match="alpha is nan"):
        Lora(alpha=float("nan"))


def test_unknown_layers_and_a_second_lora_are_refused(tiny_pipeline: StableDiffusionPipeline) -> None:
    with pytest.raises(ConfigurationError, match=r"called 'to_queue'; choose among .*to_out\.0, to_q") as caught:
        Lora(unet=True, unet_modules=["to_q", "to_queue"], text_encoder_modules=["proj"]).attach(tiny_pipeline)
    assert "called 'proj'" in str(caught.value)
    Lora(rank=2).attach(tiny_pipeline)
    with pytest.raises(ConfigurationError, match="carries a LoRA already"):
        Lora(rank=2).attach(tiny_pipeline)


def test_rank_stabilised(
    open_pipeline: Open, generate: Callable[..., Tensor], train: Callable[[Adaptor], None], tmp_path: Path
) -> None:
    """alpha / sqrt(rank): 6 / sqrt(4) = 3 = 12 / 4, which is what files tell."""
    pipeline, adaptor = open_pipeline(), Lora(rank=4, alpha=6, unet=True, use_rslora=True)
    adaptor.attach(pipeline)
    train(adaptor)
    assert pipeline.text_encoder.get_submodule("encoder.layers.0.mlp.fc1").scaling == {"fairlit": 3}
    (path,) = adaptor.save(tmp_path, pipeline, AdaptorMetadata())
    assert read_metadata(path).alpha == 12
    loaded = open_pipeline()
    loaded.load_lora_weights(str(tmp_path))
    assert (generate(loaded) - generate(pipeline)).abs().max() < 1e-5
    assert verify_saved(adaptor, tmp_path, pipeline) < 1e-4
    twin = adaptor.twin(open_pipeline())
    twin.load(path)
    plain = Lora(rank=4, alpha=6, unet=True)
    plain.attach(open_pipeline())
    with pytest.raises(CheckpointError, match="trained with alpha 12, this adaptor has alpha 6; set alpha to 12"):
        plain.load(path)
    assert "use_rslora" not in Lora().settings()  # digests of runs are what they were
