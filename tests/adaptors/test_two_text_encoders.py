"""Adaptors of Stable Diffusion XL: stock diffusers opens each saved file and makes fairlit's very pictures."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from tiny_xl import build_tiny_xl
from torch import Tensor

from fairlit.adaptors import (
    Adaptor,
    AdaptorMetadata,
    Lora,
    SoftTokens,
    fresh_pipeline,
    load_adaptor,
    save_adaptor,
    verify_saved,
)
from fairlit.adaptors.contents import read_adaptor
from fairlit.adaptors.export import verify_written, write_adaptor
from fairlit.adaptors.merging import merge_adaptor
from fairlit.adaptors.model_card import adaptor_card
from fairlit.diffusion import Backbone, Chain, Conditioning, rollout
from fairlit.diffusion.skeleton import open_skeleton
from fairlit.errors import CheckpointError, ConfigurationError
from fairlit.functional.sampling.solver import linear_solver
from fairlit.mitigation import Chunk, FinetunedAdaptor, SamplingPlan

Train = Callable[[Adaptor], None]
PROMPT = "a photo of the face of a doctor"
PARTS: dict[str, dict[str, bool] | None] = {
    "first": {"text_encoder": True},
    "second": {"text_encoder": False, "text_encoder_2": True},
    "unet": {"text_encoder": False, "unet": True},
    "all": {"text_encoder_2": True, "unet": True},
    "tokens": None,
}
STOCK = """
import sys, torch
from pathlib import Path
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file
base, folder, prompt = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
for file in sorted(folder.glob("*/*.safetensors")):
    for dtype in (torch.float32, torch.bfloat16) if file.parent.name == "all" else (torch.float32,):
        pipeline = StableDiffusionXLPipeline.from_pretrained(base, torch_dtype=dtype, local_files_only=True)
        pipeline.set_progress_bar_config(disable=True)
        rows, text = load_file(file), prompt
        if "clip_l" in rows:
            parts = {"text_encoder": pipeline.text_encoder, "tokenizer": pipeline.tokenizer}
            pipeline.load_textual_inversion(rows["clip_l"], token="<fairlit>", **parts)
            parts = {"text_encoder": pipeline.text_encoder_2, "tokenizer": pipeline.tokenizer_2}
            pipeline.load_textual_inversion(rows["clip_g"], token="<fairlit>", **parts)
            text = f"<fairlit> {prompt}"
        else:
            pipeline.load_lora_weights(file.parent, weight_name=file.name)
        noise = load_file(folder / "noise.safetensors")["noise"].to(dtype)
        call = {"num_inference_steps": 2, "guidance_scale": 3.0, "latents": noise, "output_type": "latent"}
        save_file({"latents": pipeline(text, **call).images}, folder / f"{file.parent.name} {dtype}.latents")
assert not any(name.startswith("fairlit") for name in sys.modules)
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tiny_pipeline_folder: Path) -> Path:
    """A tiny random pipeline of Stable Diffusion XL on disk."""
    folder = tmp_path_factory.mktemp("xl")
    tiny = StableDiffusionPipeline.from_pretrained(tiny_pipeline_folder, local_files_only=True)
    build_tiny_xl(tiny).save_pretrained(folder)
    return folder


def latents_of(backbone: Backbone, noise: Tensor, prompt: str = PROMPT) -> Tensor:
    chain = Chain(backbone, linear_solver(backbone.scheduler, 2), 3.0)
    with torch.no_grad():
        conditioning = Conditioning.of_one_prompt(backbone.encode(["", prompt]), 1)
        return rollout(chain, noise.to(backbone.unet.dtype), conditioning).latents


def attached(
    base: Path, parts: dict[str, bool] | None, train: Train, dtype: torch.dtype = torch.float32
) -> tuple[Adaptor, Backbone]:
    """A model with a LoRA of some parts, or with soft tokens."""
    adaptor = SoftTokens(count=3) if parts is None else Lora(rank=2, alpha=5, **parts)
    backbone = Backbone.load(base, "max_length", dtype)
    adaptor.attach(backbone)
    train(adaptor)
    return adaptor, backbone


def test_stock_makes_the_same_pictures(base: Path, train: Train, tmp_path: Path) -> None:
    """LoRA of each part and of all, alpha different from rank, and soft tokens, in a process without fairlit.

    The files that fairlit exports for web UIs too.
    """
    expected: dict[str, Tensor] = {}
    for name, parts in PARTS.items():
        for dtype in (torch.bfloat16, torch.float32) if name == "all" else (torch.float32,):
            adaptor, backbone = attached(base, parts, train, dtype)
            noise = torch.randn(1, *backbone.latent_shape(), generator=torch.Generator().manual_seed(0))
            expected[f"{name} {dtype}"] = latents_of(backbone, noise, adaptor.adapt_prompt(PROMPT))
        adaptor.save(tmp_path / name, backbone, AdaptorMetadata())
    for name in ("first", "tokens"):
        write_adaptor(read_adaptor(tmp_path / name), "kohya", tmp_path / f"kohya {name}", name="xl")
        expected[f"kohya {name} torch.float32"] = expected[f"{name} torch.float32"]
    save_file({"noise": noise}, tmp_path / "noise.safetensors")
    code = [sys.executable, "-c", STOCK, str(base), str(tmp_path), PROMPT]
    done = subprocess.run(code, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    original = latents_of(Backbone.load(base, "max_length"), noise)
    for name, right in expected.items():
        found = load_file(tmp_path / f"{name}.latents")["latents"]
        size, dtype = right.abs().max(), right.dtype
        assert (found - right).abs().max() < (1e-5 if dtype == torch.float32 else 0.03) * size, name
        assert (right - original).abs().max() > (0.02 if dtype == torch.float32 else 0.1) * size, name


def test_prefixes_in_kohya_files(base: Path, train: Train, tmp_path: Path) -> None:
    """The record knows that a LoRA of the first text encoder alone is one of two."""
    adaptor, backbone = attached(base, PARTS["first"], train)
    adaptor.save(tmp_path, backbone, AdaptorMetadata())
    [file] = write_adaptor(read_adaptor(tmp_path), "kohya", tmp_path / "kohya", name="xl")
    assert {name.split("_text_model")[0] for name in load_file(file)} == {"lora_te1"}


@pytest.mark.parametrize("kind", ["all", "tokens"])
def test_saved_files_are_verified_and_loaded_again(base: Path, train: Train, tmp_path: Path, kind: str) -> None:
    adaptor, backbone = attached(base, PARTS[kind], train)
    noise, prompt = torch.randn(1, *backbone.latent_shape()), adaptor.adapt_prompt(PROMPT)
    adapted = latents_of(backbone, noise, prompt)
    with adaptor.disabled():
        original = latents_of(backbone, noise)
    assert torch.equal(original, latents_of(Backbone.load(base, "max_length"), noise))
    adaptor.save(tmp_path, backbone, AdaptorMetadata(base_model=str(base)))
    assert verify_saved(adaptor, tmp_path, backbone) <= 1e-5
    assert torch.equal(latents_of(Backbone(fresh_pipeline(adaptor, backbone), "", "max_length"), noise), original)
    again = adaptor.twin(other := Backbone.load(base, "max_length"))
    assert torch.equal(latents_of(other, noise, prompt), adapted)
    again.load(tmp_path)
    [file] = save_adaptor(other.pipeline(), tmp_path / "again")
    assert read_adaptor(file).record.pipeline == "StableDiffusionXLPipeline"
    torch.testing.assert_close(load_file(file), dict(adaptor.parameters()))
    sampling = SamplingPlan(steps=2, guidance_scale=3.0, batch_size=2)
    plain = Backbone.load(base, "max_length")
    config = plain.text_encoder_2.config.to_dict()
    with FinetunedAdaptor(str(tmp_path)).prepare(plain, sampling, None) as sample:
        torch.testing.assert_close(sample(Chunk.whole(PROMPT, 1), noise), adapted, atol=1e-4, rtol=1e-4)
    assert torch.equal(latents_of(plain, noise), original)
    assert plain.text_encoder_2.config.to_dict() == config
    assert len(plain.tokenizer_2) == config["vocab_size"]


@pytest.mark.parametrize("kind", ["all", "tokens"])
def test_the_card_says_how_to_make_the_pictures(base: Path, train: Train, tmp_path: Path, kind: str) -> None:
    """Its first snippet runs, and so does the second, whose embeddings are padded as fairlit pads them."""
    adaptor, backbone = attached(base, PARTS[kind], train)
    adaptor.save(tmp_path, backbone, AdaptorMetadata(base_model=str(base)))
    card = adaptor_card(tmp_path, None, {"prompt_padding": "longest", "guidance_scale": 3.0, "evaluation_steps": 1})
    load, padded = (part.split("```")[0] for part in card.read_text().split("```python\n")[1:])
    names: dict[str, object] = {}
    exec(load.replace("path/to/this/folder", str(tmp_path)), names)
    exec(padded, names)
    backbone.prompt_padding = "longest"
    prompt = str(names["prompt"]).removeprefix("<fairlit> ")
    expected = backbone.encode(["", adaptor.adapt_prompt(prompt)])
    embeddings = names["embeddings"]
    assert isinstance(embeddings, dict)
    for name, tensor in expected.items():
        torch.testing.assert_close(embeddings[f"negative_{name}"], tensor[:1])
        torch.testing.assert_close(embeddings[name], tensor[1:])


def test_tokens_start_as_the_same_words_in_both_encoders(base: Path) -> None:
    adaptor, backbone = SoftTokens(count=3), Backbone.load(base)
    adaptor.attach(backbone)
    starts = []
    for key, encoder in zip(("clip_l", "clip_g"), backbone.text_encoders.values(), strict=True):
        rows, table = adaptor.parameters()[key], encoder.get_input_embeddings().base.weight
        starts.append((rows[:, None] == table[None]).all(-1).nonzero()[:, 1].tolist())
    assert starts[0] == starts[1]
    assert len(set(starts[0])) == 3


def test_tokens_are_exported_and_merged(base: Path, train: Train, tmp_path: Path) -> None:
    adaptor, backbone = attached(base, None, train)
    noise = torch.randn(1, *backbone.latent_shape())
    adapted = latents_of(backbone, noise, adaptor.adapt_prompt(PROMPT))
    adaptor.save(tmp_path / "saved", backbone, AdaptorMetadata(base_model=str(base)))
    contents = read_adaptor(tmp_path / "saved")
    for format_ in ("diffusers", "kohya"):
        files = write_adaptor(contents, format_, tmp_path / format_, name="xl")
        verify_written(contents, format_, files, skeleton=open_skeleton(base))
        assert set(load_file(files[0])) == {"clip_l", "clip_g"}
    swapped = {"text_encoder": contents.rows["text_encoder"], "text_encoder_2": -contents.rows["text_encoder_2"]}
    wrong, skeleton = dataclasses.replace(contents, rows=swapped), open_skeleton(base)
    with pytest.raises(CheckpointError, match="the soft tokens are something else"):
        verify_written(wrong, format_, files, skeleton=skeleton)
    merge_adaptor(contents, base, tmp_path / "merged")
    merged = Backbone.load(tmp_path / "merged", "max_length")
    torch.testing.assert_close(latents_of(merged, noise, adaptor.adapt_prompt(PROMPT)), adapted, atol=1e-4, rtol=1e-4)


def test_tokens_of_another_kind_of_model_are_refused(
    base: Path, tiny_pipeline: StableDiffusionPipeline, train: Train, tmp_path: Path
) -> None:
    adaptor, backbone = attached(base, None, train)
    adaptor.save(tmp_path / "two", backbone, AdaptorMetadata())
    with pytest.raises(CheckpointError, match="for text_encoder and text_encoder_2; expected some for text_encoder,"):
        load_adaptor(tiny_pipeline, tmp_path / "two")
    one = SoftTokens(count=3)
    one.attach(tiny_pipeline)
    one.save(tmp_path / "one", tiny_pipeline, AdaptorMetadata())
    plain = Backbone.load(base).pipeline()
    with pytest.raises(CheckpointError, match="for text_encoder; expected some for text_encoder and text_encoder_2"):
        load_adaptor(plain, tmp_path / "one")
    plain.load_textual_inversion(one.parameters()["<fairlit>"].detach(), token="<fairlit>")
    with pytest.raises(ConfigurationError, match="tokenizers know different learned tokens; expected the same in both"):
        save_adaptor(plain, tmp_path / "half")


def test_rows_lie_along_contrasts_in_both_encoders_and_behind_them(base: Path) -> None:
    """Queries of each encoder's first layer read the words' embeddings, the U-Net's keys what both make of them."""
    words, template = ("woman", "man"), "a photo of a {word}"
    adaptor = Lora(
        rank=2, text_encoder_2=True, unet=True, contrasts=[words], contrast_templates=[template], contrast_gain=3**0.5
    )
    backbone = Backbone.load(base)
    adaptor.attach(backbone)
    embedded = backbone.encode([template.replace("{word}", word) for word in words])["prompt_embeds"]
    place = len(backbone.tokenizer("a photo of a").input_ids) - 1
    woman, man = embedded[:, place:].mean(dim=1)
    parameters = {name: parameter.detach() for name, parameter in adaptor.parameters().items()}
    keys = [parameter[0] for name, parameter in parameters.items() if name.endswith("attn2.to_k.lora_A.weight")]
    assert len(keys) > 1
    for key in keys:
        assert abs(abs(float(key @ torch.nn.functional.normalize(woman - man, dim=0).detach())) - 1) < 1e-4
    for part in ("text_encoder", "text_encoder_2"):
        prefix = f"{part}.text_model.encoder.layers.0.self_attn"
        query, value = (parameters[f"{prefix}.{kind}_proj.lora_A.weight"] for kind in "qv")
        assert torch.equal(query[0], value[0])
        assert abs(float(query[0].norm()) - 1) < 1e-5
        assert not torch.allclose(query[1], value[1])
