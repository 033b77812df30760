"""Exported files make the same images as the adaptor, in the stock reader of each format, or are refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DiffusionPipeline,
    StableDiffusionPipeline,
)
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tiny_xl import build_tiny_xl
from torch import Tensor

from fairlit.adaptors import Adaptor, AdaptorMetadata, Lora, read_metadata
from fairlit.adaptors.contents import AdaptorContents, read_adaptor, read_published
from fairlit.adaptors.export import FORMATS, Format, verify_written, write_adaptor
from fairlit.adaptors.formats.low_rank import LowRank, Origin
from fairlit.adaptors.merging import merge_adaptor
from fairlit.adaptors.pipelines import check_fit
from fairlit.diffusion.skeleton import open_skeleton
from fairlit.errors import CheckpointError, ConfigurationError

Open = Callable[[], StableDiffusionPipeline]
Generate = Callable[..., Tensor]
PROMPT = "a photo of the face of a doctor"


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@dataclasses.dataclass
class Trained:
    adaptor: Adaptor
    contents: AdaptorContents
    prompt: str
    image: Tensor  # [1, 3, 64, 64] by the pipeline in which the adaptor was trained


@pytest.fixture
def trained(
    make_adaptor: Callable[[], Adaptor],
    open_pipeline: Open,
    train: Callable[[Adaptor], None],
    generate: Generate,
    tmp_path: Path,
) -> Trained:
    pipeline, adaptor = open_pipeline(), make_adaptor()
    adaptor.attach(pipeline)
    train(adaptor)
    adaptor.save(tmp_path / "saved", pipeline, AdaptorMetadata(base_model="tiny"))
    prompt = adaptor.pipeline_prompt(PROMPT)
    return Trained(adaptor, read_adaptor(tmp_path / "saved"), prompt, generate(pipeline, prompt))


def load_stock(pipeline: Any, contents: AdaptorContents, format_: Format, files: list[Path]) -> None:
    """What a user does who has these files and no fairlit."""
    folder = files[0].parent
    if format_ == "peft":
        for part in {file.parent for file in files}:
            setattr(pipeline, part.name, PeftModel.from_pretrained(getattr(pipeline, part.name), str(part)))
    elif format_ == "diffusers":
        if contents.updates:
            pipeline.load_lora_weights(folder)
        if contents.rows:
            pipeline.load_textual_inversion(folder)
    else:
        if contents.updates:
            pipeline.load_lora_weights(folder, weight_name=files[0].name)
        if contents.rows:
            pipeline.load_textual_inversion(folder, weight_name=files[-1].name, token=contents.token)


def test_same_image_through_the_stock_reader_of_each_format_and_merged(
    trained: Trained, open_pipeline: Open, generate: Generate, tiny_pipeline_folder: Path, tmp_path: Path
) -> None:
    contents = trained.contents
    assert (generate(open_pipeline()) - trained.image).abs().max() > 1e-3  # the adaptor does something
    for format_ in FORMATS:
        if contents.rows and format_ == "peft":
            with pytest.raises(ConfigurationError, match="peft has no file for soft tokens"):
                write_adaptor(contents, format_, tmp_path / "out", name="mine")
            continue
        files = write_adaptor(contents, format_, tmp_path / format_, name="mine")
        verify_written(contents, format_, files, skeleton=open_skeleton(tiny_pipeline_folder))
        pipeline = open_pipeline()
        load_stock(pipeline, contents, format_, files)
        assert (generate(pipeline, trained.prompt) - trained.image).abs().max() < 1e-5
        record = read_metadata(next(file for file in files if file.suffix == ".safetensors"))
        assert (record.base_model, record.kind) == ("tiny", trained.adaptor.kind)
    merge_adaptor(contents, tiny_pipeline_folder, tmp_path / "merged")
    merged = StableDiffusionPipeline.from_pretrained(tmp_path / "merged", local_files_only=True)
    merged.set_progress_bar_config(disable=True)
    assert not any("lora" in name for name, _ in merged.unet.named_parameters())
    assert (generate(merged, trained.prompt) - trained.image).abs().max() < 1e-5


@pytest.mark.parametrize("modules", [["q_proj"], ["q_proj", "v_proj", "fc2"], ["out_proj"], ["fc1"]])
def test_kohya_files_of_some_layers_are_read_by_diffusers(
    modules: list[str],
    open_pipeline: Open,
    train: Callable[[Adaptor], None],
    generate: Generate,
    tiny_pipeline_folder: Path,
    tmp_path: Path,
) -> None:
    trained, adaptor = open_pipeline(), Lora(rank=2, alpha=7, text_encoder_modules=modules)
    adaptor.attach(trained)
    train(adaptor)
    adaptor.save(tmp_path, trained, AdaptorMetadata())
    contents = read_adaptor(tmp_path)
    files = write_adaptor(contents, "kohya", tmp_path, name="mine")
    verify_written(contents, "kohya", files, skeleton=open_skeleton(tiny_pipeline_folder))
    pipeline = open_pipeline()
    load_stock(pipeline, contents, "kohya", files)
    assert (generate(pipeline) - generate(trained)).abs().max() < 1e-5


@pytest.mark.parametrize("make_adaptor", ["alpha", "soft_tokens"], indirect=True)
def test_a_file_that_is_read_back_as_something_else_is_refused(
    trained: Trained, tiny_pipeline_folder: Path, tmp_path: Path
) -> None:
    (file,) = write_adaptor(trained.contents, "kohya", tmp_path, name="mine")
    tensors = load_file(file)
    alphas = {name: tensor + 1 for name, tensor in tensors.items() if name.endswith("alpha")}
    last = list(tensors)[-1] if alphas else "emb_params"
    for change in ([alphas] if alphas else []) + [{last: tensors[last] * 1.01}]:
        save_file(tensors | change, file)
        with pytest.raises(CheckpointError, match=r"read back"):
            verify_written(trained.contents, "kohya", [file], skeleton=open_skeleton(tiny_pipeline_folder))


def test_layers_of_different_alpha_and_rank(
    open_pipeline: Open, generate: Generate, tiny_pipeline_folder: Path, tmp_path: Path
) -> None:
    """As other programs train them; diffusers' kohya reader would pass over the alpha of single layers."""
    layers = {
        "text_encoder.text_model.encoder.layers.0.self_attn.q_proj": (2, 5.0, 32, 32),
        "text_encoder.text_model.encoder.layers.1.self_attn.q_proj": (4, 1.0, 32, 32),
        "text_encoder.text_model.encoder.layers.1.mlp.fc2": (2, 5.0, 64, 32),
        "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q": (3, 9.0, 32, 32),
        "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v": (3, 2.0, 32, 32),
    }
    contents = AdaptorContents(AdaptorMetadata())
    by_hand = open_pipeline()
    for layer, (rank, alpha, width, out) in layers.items():
        update = LowRank(torch.randn(rank, width), 0.2 * torch.randn(out, rank), alpha, Origin("file", "down", "up"))
        contents.updates[layer] = update
        component, name = layer.split(".", 1)
        with torch.no_grad():
            module = getattr(by_hand, component).get_submodule(name.removeprefix("text_model."))
            module.weight += alpha / rank * update.up @ update.down
    expected = generate(by_hand)
    for format_ in FORMATS:
        files = write_adaptor(contents, format_, tmp_path / format_, name="mine")
        verify_written(contents, format_, files, skeleton=open_skeleton(tiny_pipeline_folder))
        pipeline = open_pipeline()
        load_stock(pipeline, contents, format_, files)
        assert (generate(pipeline) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_diffusers_files_have_their_strength_for_readers_that_know_no_alpha(dtype: torch.dtype, tmp_path: Path) -> None:
    """ComfyUI multiplies by 1 where a file has no tensor called alpha; the header's is diffusers' own."""
    layer = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    for alpha in (8.0, 5.0):  # twice the rank, which is exact in any precision, and another
        down, up = torch.randn(4, 32).to(dtype), torch.randn(32, 4).to(dtype)
        update = LowRank(down, up, alpha, Origin("file", "down", "up"))
        (file,) = write_adaptor(AdaptorContents(AdaptorMetadata(), {layer: update}), "diffusers", tmp_path, name="mine")
        tensors = load_file(file)
        product = tensors[f"{layer}.lora_B.weight"].double() @ tensors[f"{layer}.lora_A.weight"].double()
        torch.testing.assert_close(product, alpha / 4 * up.double() @ down.double(), rtol=1e-6, atol=1e-6)
        assert tensors[f"{layer}.lora_B.weight"].dtype == (dtype if alpha == 8 else torch.float32)
        record = read_metadata(file)
        assert (record.rank, record.alpha) == (4, 4.0)
        back = read_adaptor(file).updates[layer]
        assert back.alpha == 4
        assert update.has_delta(back.delta())


@pytest.mark.parametrize(
    ("layer", "down", "up", "message"),
    [
        (
            "text_encoder.text_model.encoder.layers.0.mlp.fc1",
            (2, 768),
            (64, 2),
            r"some\.pth: tensor 'the\.down' has shape \[2, 768\], the pipeline needs \[2, 32\]",
        ),
        (
            "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
            (2, 16),
            (320, 2),
            r"some\.pth: tensor 'the\.up' has shape \[320, 2\], the pipeline needs \[16, 2\]",
        ),
        (
            "text_encoder.text_model.encoder.layers.11.mlp.fc1",
            (2, 32),
            (64, 2),
            r"tensor 'the\.down' of shape \[2, 32\] has no place .*no layer 'text_encoder.*layers\.11\.mlp\.fc1'",
        ),
    ],
)
def test_other_base_models_are_refused_by_tensor_and_shapes(
    layer: str, down: tuple[int, int], up: tuple[int, int], message: str, tiny_pipeline_folder: Path
) -> None:
    update = LowRank(torch.ones(down), torch.ones(up), 2.0, Origin("some.pth", "the.down", "the.up"))
    with pytest.raises(CheckpointError, match=message):
        check_fit(AdaptorContents(AdaptorMetadata(), {layer: update}), open_skeleton(tiny_pipeline_folder))


def test_soft_tokens_of_another_base_model_are_refused(tiny_pipeline_folder: Path, tmp_path: Path) -> None:
    torch.save({"token_embedding.weight": torch.ones(6, 768)}, tmp_path / "prefix.pth")
    contents = read_published([tmp_path / "prefix.pth"])
    with pytest.raises(CheckpointError, match=r"prefix\.pth: tensor '<fairlit>' has shape \[5, 768\], .* \[5, 32\]"):
        check_fit(contents, open_skeleton(tiny_pipeline_folder))


@torch.no_grad()
def test_published_files_make_the_images_of_the_originals_applied_by_hand(
    open_pipeline: Open, generate: Generate, tiny_pipeline_folder: Path, tmp_path: Path
) -> None:
    """The original adds ``up(down(x))`` to each layer: its weight becomes W + (alpha / rank) up down, alpha = rank."""
    rank, alpha = 3, 3
    by_hand = open_pipeline()
    generator = torch.Generator().manual_seed(3)
    text, unet = {}, {}
    for name, layer in by_hand.text_encoder.named_modules():
        if name.endswith(("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")):
            down = torch.randn(rank, layer.in_features, generator=generator)
            up = torch.randn(layer.out_features, rank, generator=generator) * 0.1
            layer.weight += alpha / rank * up @ down
            prefix = f"text_model.{name.removeprefix('text_model.')}.lora_linear_layer"
            text |= {f"{prefix}.down.weight": down, f"{prefix}.up.weight": up}
    for name, attention in by_hand.unet.named_modules():
        if name.endswith(("attn1", "attn2")):
            parts = {"q": attention.to_q, "k": attention.to_k, "v": attention.to_v, "out": attention.to_out[0]}
            for kind, layer in parts.items():
                down = torch.randn(rank, layer.in_features, generator=generator)
                up = torch.randn(layer.out_features, rank, generator=generator) * 0.1
                layer.weight += alpha / rank * up @ down
                prefix = f"{name}.processor.to_{kind}_lora"
                unet |= {f"{prefix}.down.weight": down, f"{prefix}.up.weight": up}
    expected = generate(by_hand)
    torch.save(text, tmp_path / "text_encoder_lora.pth")
    torch.save(unet, tmp_path / "unet_lora.pth")
    contents = read_published([tmp_path / "text_encoder_lora.pth", tmp_path / "unet_lora.pth"])
    for format_ in FORMATS:
        files = write_adaptor(contents, format_, tmp_path / format_, name="shen")
        verify_written(contents, format_, files, skeleton=open_skeleton(tiny_pipeline_folder))
        pipeline = open_pipeline()
        load_stock(pipeline, contents, format_, files)
        assert (generate(pipeline) - expected).abs().max() < 1e-5
    assert (generate(open_pipeline()) - expected).abs().max() > 1e-2


@torch.no_grad()
def test_published_soft_tokens_make_the_images_of_the_originals_applied_by_hand(
    open_pipeline: Open, generate: Generate, tmp_path: Path
) -> None:
    """The original replaces the embeddings of the first words; here those of five words that the tokenizer knows."""
    by_hand = open_pipeline()
    weight = torch.randn(6, 32, generator=torch.Generator().manual_seed(4))
    words = ["woman", "man", "young", "old", "farmer"]
    ids = by_hand.tokenizer(" ".join(words), add_special_tokens=False).input_ids
    assert len(ids) == 5
    by_hand.text_encoder.get_input_embeddings().weight[ids] = weight[1:]
    expected = generate(by_hand, f"{' '.join(words)} {PROMPT}")
    torch.save({"token_embedding.weight": weight, "position_ids": torch.arange(77)[None]}, tmp_path / "prefix.pth")
    contents = read_published([tmp_path / "prefix.pth"])
    for format_ in ("diffusers", "kohya"):
        files = write_adaptor(contents, format_, tmp_path / format_, name="shen")
        pipeline = open_pipeline()
        load_stock(pipeline, contents, format_, files)
        assert (generate(pipeline, f"<fairlit> {PROMPT}") - expected).abs().max() < 1e-5


def test_merge_goes_on_without_a_safety_checker_that_was_deleted(
    tiny_pipeline_folder: Path, generate: Generate, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = shutil.copytree(tiny_pipeline_folder, tmp_path / "base")
    index = json.loads((base / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
    index["requires_safety_checker"] = True
    (base / "model_index.json").write_text(json.dumps(index))
    layer = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    update = LowRank(torch.randn(2, 32), torch.randn(32, 2), 3.0, Origin("file", "down", "up"))
    merge_adaptor(AdaptorContents(AdaptorMetadata(), {layer: update}), base, tmp_path / "merged")
    assert "safety_checker and feature_extractor listed but not there" in caplog.text
    merged = StableDiffusionPipeline.from_pretrained(tmp_path / "merged", local_files_only=True)
    by_hand = StableDiffusionPipeline.from_pretrained(tiny_pipeline_folder, local_files_only=True)
    by_hand.unet.get_submodule(layer.removeprefix("unet.")).weight.data += 3 / 2 * update.up @ update.down
    for pipeline in (merged, by_hand):
        pipeline.set_progress_bar_config(disable=True)
    assert (generate(merged) - generate(by_hand)).abs().max() < 1e-5


def test_merge_refuses_damaged_weights(tiny_pipeline_folder: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_pipeline_folder, tmp_path / "base")
    file = base / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    lost = tensors.pop("conv_in.weight")
    save_file(tensors, file)
    contents = AdaptorContents(AdaptorMetadata())
    with pytest.raises(CheckpointError, match=r"unet: the weights lack 'conv_in\.weight'"):
        merge_adaptor(contents, base, tmp_path / "merged")
    save_file(tensors | {"conv_in.weight": lost * torch.nan}, file)
    with pytest.raises(CheckpointError, match=r"NaN or infinity in 'conv_in\.weight'"):
        merge_adaptor(contents, base, tmp_path / "merged")


@pytest.fixture
def xl_folder(tiny_pipeline: StableDiffusionPipeline, tmp_path: Path) -> Path:
    """A tiny random pipeline of the Stable Diffusion XL family."""
    pipeline = build_tiny_xl(tiny_pipeline)
    pipeline.scheduler = DDIMScheduler()
    pipeline.save_pretrained(tmp_path / "xl")
    return tmp_path / "xl"


def test_stable_diffusion_xl(xl_folder: Path, generate: Generate, tmp_path: Path) -> None:
    """A LoRA of all three parts, alpha different from rank, through the kohya names of two text encoders."""
    names = {
        "text_encoder": "text_encoder.text_model.encoder.layers.0.self_attn.out_proj",
        "text_encoder_2": "text_encoder_2.text_model.encoder.layers.1.self_attn.k_proj",
        "unet": "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v",
    }
    contents = AdaptorContents(AdaptorMetadata(), files=(tmp_path,))
    sizes = {"text_encoder": (32, 32), "text_encoder_2": (24, 24), "unet": (32 + 24, 32)}
    generator = torch.Generator().manual_seed(0)
    for part, layer in names.items():
        width, out = sizes[part]
        update = LowRank(
            torch.randn(2, width, generator=generator),
            torch.randn(out, 2, generator=generator),
            5.0,
            Origin("file", "down", "up"),
        )
        contents.updates[layer] = update
    check_fit(contents, open_skeleton(xl_folder))

    def opened() -> Any:
        pipeline = DiffusionPipeline.from_pretrained(xl_folder, local_files_only=True)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    by_hand = opened()
    for part, layer in names.items():
        path = layer.removeprefix(f"{part}.")
        path = path.removeprefix("text_model.") if part == "text_encoder" else path
        with torch.no_grad():
            getattr(by_hand, part).get_submodule(path).weight += contents.updates[layer].delta()
    expected = generate(by_hand)
    for format_ in FORMATS:
        files = write_adaptor(contents, format_, tmp_path / format_, name="xl", sdxl=True)
        verify_written(contents, format_, files, skeleton=open_skeleton(xl_folder))
        pipeline = opened()
        load_stock(pipeline, contents, format_, files)
        assert (generate(pipeline) - expected).abs().max() < 2e-5, format_
    merge_adaptor(contents, xl_folder, tmp_path / "merged")
    merged = DiffusionPipeline.from_pretrained(tmp_path / "merged", local_files_only=True)
    merged.set_progress_bar_config(disable=True)
    assert (generate(merged) - expected).abs().max() < 2e-5
    assert (generate(opened()) - expected).abs().max() > 1e-3
