"""The two public functions: adaptors in and out of stock pipelines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from fairlit.adaptors import Adaptor, AdaptorMetadata, Lora, SoftTokens, load_adaptor, read_metadata, save_adaptor
from fairlit.adaptors.files import write_tensors
from fairlit.errors import CheckpointError, ConfigurationError

Open = Callable[[], StableDiffusionPipeline]
PROMPT = "a photo of a nurse"


@pytest.fixture
def saved(
    open_pipeline: Open, train: Callable[[Adaptor], None], tmp_path: Path
) -> tuple[Path, StableDiffusionPipeline]:
    """A folder with a LoRA and soft tokens that were trained together, and the pipeline in which they were."""
    pipeline = open_pipeline()
    for adaptor in (SoftTokens(count=3), Lora(rank=2, alpha=5, unet=True)):
        adaptor.attach(pipeline)
        train(adaptor)
        adaptor.save(tmp_path / "saved", pipeline, AdaptorMetadata(base_model="tiny"))
    return tmp_path / "saved", pipeline


def test_both_kinds_in_one_folder_through_two_generations(
    saved: tuple[Path, StableDiffusionPipeline], open_pipeline: Open, generate: Callable[..., Tensor], tmp_path: Path
) -> None:
    folder, trained = saved
    expected = generate(trained, f"<fairlit> {PROMPT}")
    pipeline = open_pipeline()
    assert load_adaptor(pipeline, folder) is pipeline
    assert (generate(pipeline, f"<fairlit> {PROMPT}") - expected).abs().max() < 1e-5
    again = save_adaptor(pipeline, tmp_path / "again")
    assert [path.name for path in again] == ["pytorch_lora_weights.safetensors", "learned_embeds.safetensors"]
    grandchild = load_adaptor(open_pipeline(), str(tmp_path / "again"))
    assert (generate(grandchild, f"<fairlit> {PROMPT}") - expected).abs().max() < 1e-5
    record = read_metadata(again[0])
    assert (record.kind, record.rank, record.alpha) == ("lora", 2, 5)
    assert len(record.modules["text_encoder"]) == 12  # two layers of six
    assert read_metadata(again[1]).tokens == ("<fairlit>", "<fairlit>_1", "<fairlit>_2")


def test_saves_living_adaptors_and_single_files(
    saved: tuple[Path, StableDiffusionPipeline], open_pipeline: Open, generate: Callable[..., Tensor], tmp_path: Path
) -> None:
    folder, trained = saved
    save_adaptor(trained, tmp_path / "living", AdaptorMetadata(config_hash="7"))
    loaded = load_adaptor(open_pipeline(), tmp_path / "living")
    assert (generate(loaded, f"<fairlit> {PROMPT}") - generate(trained, f"<fairlit> {PROMPT}")).abs().max() < 1e-5
    assert read_metadata(tmp_path / "living").config_hash == "7"
    with pytest.raises(ConfigurationError, match="give a folder"):
        save_adaptor(trained, tmp_path / "one.safetensors")
    only_lora = load_adaptor(open_pipeline(), folder / "pytorch_lora_weights.safetensors")
    (path,) = save_adaptor(only_lora, tmp_path / "one.safetensors")
    assert torch.equal(generate(load_adaptor(open_pipeline(), path)), generate(only_lora))


def test_nothing_or_too_much_to_save(
    saved: tuple[Path, StableDiffusionPipeline], open_pipeline: Open, tmp_path: Path
) -> None:
    folder, _ = saved
    with pytest.raises(ConfigurationError, match="neither a LoRA nor soft tokens"):
        save_adaptor(open_pipeline(), tmp_path)
    twice = open_pipeline()
    for _ in range(2):
        load_adaptor(twice, folder / "pytorch_lora_weights.safetensors")
    with pytest.raises(ConfigurationError, match=r"text_encoder carries several LoRAs \(default_0, default_1\)"):
        save_adaptor(twice, tmp_path)
    tokens = open_pipeline()
    tokens.load_textual_inversion({"<one>": torch.zeros(2, 32)})
    tokens.load_textual_inversion({"<two_2>": torch.zeros(1, 32)})
    with pytest.raises(ConfigurationError, match=r"several learned tokens \(<one>, <two_2>\)"):
        save_adaptor(tokens, tmp_path)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            {"unet.lost.to_q.lora_A.weight": torch.zeros(2, 9), "unet.lost.to_q.lora_B.weight": torch.zeros(9, 2)},
            r"tensor 'unet\.lost\.to_q\.lora_A\.weight' of shape \[2, 9\] has no place .* no layer 'unet\.lost\.to_q'",
        ),
        (
            {
                "text_encoder.encoder.layers.0.mlp.fc1.lora_A.weight": torch.zeros(2, 768),
                "text_encoder.encoder.layers.0.mlp.fc1.lora_B.weight": torch.zeros(64, 2),
            },
            r"fc1\.lora_A\.weight' has shape \[2, 768\], the pipeline needs \[2, 32\]",
        ),
        (
            {
                "text_encoder.text_model.encoder.layers.1.mlp.fc1.lora_A.weight": torch.zeros(2, 32),
                "text_encoder.text_model.encoder.layers.1.mlp.fc1.lora_B.weight": torch.zeros(768, 2),
            },
            r"fc1\.lora_B\.weight' has shape \[768, 2\], the pipeline needs \[64, 2\]",
        ),
        ({"<fairlit>": torch.zeros(5, 768)}, r"tensor '<fairlit>' has shape \[5, 768\], the pipeline needs \[5, 32\]"),
        ({"doctor</w>": torch.zeros(5, 32)}, "knows 'doctor</w>' already"),
        ({"a": torch.zeros(2), "b": torch.zeros(2)}, "neither a LoRA nor soft tokens .2 tensors, first: 'a'"),
        ({}, "neither a LoRA nor soft tokens"),
    ],
)
def test_files_that_do_not_fit_are_refused_before_anything_is_touched(
    tensors: dict[str, Tensor],
    message: str,
    open_pipeline: Open,
    generate: Callable[..., Tensor],
    tmp_path: Path,
) -> None:
    pipeline = open_pipeline()
    before = generate(pipeline)
    path = write_tensors(tmp_path / "some.safetensors", tensors, {})
    with pytest.raises(CheckpointError, match=message):
        load_adaptor(pipeline, path)
    assert torch.equal(generate(pipeline), before)
    with pytest.raises(ConfigurationError, match="neither"):
        save_adaptor(pipeline, tmp_path)
