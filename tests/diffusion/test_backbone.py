from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from diffusers import DiffusionPipeline, PNDMScheduler, StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from fairlit.diffusion import Backbone, check_pipeline
from fairlit.diffusion.families.lookup import what_works
from fairlit.errors import CheckpointError, ConfigurationError, Problems
from fairlit.functional.sampling.solver import linear_solver


@pytest.fixture
def folder(tiny_pipeline_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(tiny_pipeline_folder, tmp_path / "pipeline"))


def complaints(path: str | Path) -> list[str]:
    problems = Problems("test")
    check_pipeline(path, problems)
    return problems.messages


def test_a_complete_folder_and_a_hub_id_pass(tiny_pipeline_folder: Path) -> None:
    assert complaints(tiny_pipeline_folder) == []
    assert complaints("stable-diffusion-v1-5/stable-diffusion-v1-5") == []


def test_prompts_are_mixed_token_by_token_before_the_text_encoder(tiny_pipeline: StableDiffusionPipeline) -> None:
    backbone = Backbone(tiny_pipeline)
    one, other = ["", "a doctor"], ["", "a person with a nurse"]
    table = backbone.text_encoder.get_input_embeddings()
    both = backbone.encode([*one, *other])["prompt_embeds"]  # padded to one length
    torch.testing.assert_close(backbone.encode_mixed(one, other, 0.0), {"prompt_embeds": both[:2]})
    torch.testing.assert_close(backbone.encode_mixed(one, other, 1.0), {"prompt_embeds": both[2:]})
    mixed = backbone.encode_mixed(one, other, 0.25)["prompt_embeds"]
    ids = backbone.tokenizer([*one, *other], padding="longest", return_tensors="pt").input_ids
    means = 0.75 * table(ids[:2]) + 0.25 * table(ids[2:])
    handle = table.register_forward_hook(lambda *_: means)
    expected = backbone.text_encoder(ids[:2])[0]
    handle.remove()
    torch.testing.assert_close(mixed, expected)
    assert not torch.allclose(mixed[1], both[1])
    assert not table._forward_hooks


def test_a_missing_and_an_empty_folder(tmp_path: Path) -> None:
    [message] = complaints(tmp_path / "nothing")
    assert str(tmp_path / "nothing") in message
    assert "give the folder of a pipeline" in message
    (tmp_path / "empty").mkdir()
    [message] = complaints(tmp_path / "empty")
    assert "model_index.json is missing" in message
    assert "give the folder" in message


def test_a_path_that_is_not_utf_8(folder: Path) -> None:
    named = folder.rename(os.fsdecode(os.fsencode(folder) + b"\xe9"))
    [message] = complaints(named)
    assert "which is not UTF-8; rename it" in message


def test_a_file_without_weights(folder: Path) -> None:
    [message] = complaints(folder / "model_index.json")
    assert "expected a folder or a .safetensors file; give the folder of a pipeline" in message


@pytest.mark.parametrize("part", ["tokenizer", "text_encoder", "unet", "vae", "scheduler"])
def test_a_missing_part(folder: Path, part: str) -> None:
    shutil.rmtree(folder / part)
    [message] = complaints(folder)
    assert f"{folder / part} is missing; copy the pipeline folder again" in message


@pytest.mark.parametrize(
    "name", ["model_index.json", "unet/config.json", "vae/config.json", "scheduler/scheduler_config.json"]
)
def test_damaged_json(folder: Path, name: str) -> None:
    file = folder / name
    file.write_bytes(file.read_bytes()[:20])
    [message] = complaints(folder)
    assert f"{file} is damaged" in message
    assert "copy it again" in message


def test_truncated_weights_and_everything_else_at_once(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    (folder / "text_encoder" / "model.safetensors").unlink()
    (folder / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(
        (2**40).to_bytes(8, "little") + b"a header that never ends"
    )
    missing, short, endless = complaints(folder)
    assert f"{folder / 'text_encoder'} holds no weights" in missing
    assert f"{weights} is cut short ({len(whole) // 2} bytes of {len(whole)}); copy it again" in short
    assert "is cut short" in endless
    with pytest.raises(ConfigurationError, match="3 problems"):
        Backbone.load(folder)


def test_another_kind_of_pipeline(folder: Path) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    del index["unet"]
    (folder / "model_index.json").write_text(json.dumps(index))
    [message] = complaints(folder)
    assert "lists no 'unet'" in message


def test_frozen_and_in_eval_mode_whatever_the_owner_asks(tiny_pipeline_folder: Path) -> None:
    backbone = Backbone.load(tiny_pipeline_folder)
    torch.nn.Sequential(backbone).train()
    assert not any(module.training for module in backbone.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_shapes_and_padding(tiny_pipeline: StableDiffusionPipeline) -> None:
    longest, fixed = Backbone(tiny_pipeline), Backbone(tiny_pipeline, prompt_padding="max_length")
    prompts = ["", "a photo of the face of a doctor"]
    words = len(prompts[1].split()) + 2  # every word is a token; start and end come on top
    assert longest.encode(prompts)["prompt_embeds"].shape == (2, words, 32)
    assert fixed.encode(prompts)["prompt_embeds"].shape == (2, 77, 32)
    assert longest.latent_shape() == (4, 16, 16)
    assert longest.vae_scale == 4
    assert longest.latent_shape(32) == (4, 8, 8)
    assert longest.latent_shape((32, 48)) == (4, 8, 12)
    longest.unet.register_to_config(sample_size=(8, 24))  # a model of landscapes
    assert longest.latent_shape() == (4, 8, 24)
    images = longest.decode(3 * torch.randn(2, 4, 8, 8))
    assert images.shape == (2, 3, 32, 32)
    assert 0 <= images.min() <= images.max() <= 1


def test_what_stock_diffusers_computes(tiny_pipeline: StableDiffusionPipeline) -> None:
    backbone = Backbone(tiny_pipeline, prompt_padding="max_length")
    expected, _ = tiny_pipeline.encode_prompt("a nurse", "cpu", 1, False)
    torch.testing.assert_close(backbone.encode(["a nurse"]), {"prompt_embeds": expected})
    latents = torch.randn(2, 4, 16, 16)
    decoded = tiny_pipeline.vae.decode(latents / tiny_pipeline.vae.config.scaling_factor).sample
    expected_images = tiny_pipeline.image_processor.postprocess(decoded, output_type="pt")
    torch.testing.assert_close(backbone.decode(latents), expected_images)
    assert backbone.pipeline().unet is tiny_pipeline.unet


@pytest.mark.parametrize(
    ("solver", "made", "calls"),
    [
        ("pipeline", "PNDMScheduler", 6),  # PNDM makes its second call twice
        ("dpm-solver++", "DPMSolverMultistepScheduler", 5),
        ("ddim", "DDIMScheduler", 5),
        ("euler", "EulerDiscreteScheduler", 5),
        ("euler-ancestral", "EulerAncestralDiscreteScheduler", 5),
        ("lcm", "LCMScheduler", 5),
    ],
)
def test_solver_can_be_chosen_and_keeps_the_noise_schedule(folder: Path, solver: Any, made: str, calls: int) -> None:
    """Stable Diffusion v1-5 comes with PNDM; here on its noise schedule."""
    own = PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True)
    own.save_pretrained(folder / "scheduler")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"scheduler": ["diffusers", "PNDMScheduler"]}))
    scheduler = Backbone.load(folder, solver=solver).scheduler
    assert type(scheduler).__name__ == made
    torch.testing.assert_close(scheduler.alphas_cumprod, own.alphas_cumprod)
    assert linear_solver(scheduler, 5).num_evaluations == calls


@pytest.mark.parametrize("solver", ["pipeline", "euler"])
def test_another_default_device_does_not_matter(tiny_pipeline_folder: Path, solver: Any) -> None:
    """Lightning loads models with a GPU as default device; `meta` stands for it on machines without one."""
    with torch.device("meta"):
        backbone = Backbone.load(tiny_pipeline_folder, solver=solver)
    assert {parameter.device.type for parameter in backbone.parameters()} == {"cpu"}
    assert backbone.scheduler.alphas_cumprod.device.type == "cpu"
    assert linear_solver(backbone.scheduler, 4).num_evaluations == 4


def change(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


@pytest.mark.parametrize(
    ("file", "fields", "words"),
    [
        ("model_index.json", {"_class_name": "StableDiffusion3Pipeline"}, "Stable Diffusion 3"),
        ("model_index.json", {"_class_name": "FluxPipeline"}, "Flux"),
        ("model_index.json", {"_class_name": "StableDiffusionInpaintPipeline"}, "an inpainting model"),
        ("model_index.json", {"_class_name": None}, "a None"),
        ("model_index.json", {"unet": ["a"]}, "unet ['a']"),
        ("model_index.json", {"vae": [None, None]}, "expected AutoencoderKL"),
        ("unet/config.json", {"in_channels": 9}, "an inpainting model"),
        ("unet/config.json", {"addition_embed_type": "text_time"}, "addition_embed_type 'text_time'"),
        ("unet/config.json", {"cross_attention_dim": 48}, "embeddings of width 48"),
        ("unet/config.json", {"cross_attention_dim": None}, "has no cross_attention_dim"),
        ("unet/config.json", {"time_cond_proj_dim": 256}, "time_cond_proj_dim 256"),
        ("vae/config.json", {"latent_channels": 16}, "16 latent_channels, the U-Net 4"),
        ("vae/config.json", {"shift_factor": 0.1}, "shift_factor"),
        ("vae/config.json", {"scaling_factor": "0.2"}, "scaling_factor '0.2'"),
    ],
)
def test_what_is_no_stable_diffusion(folder: Path, file: str, fields: dict[str, Any], words: str) -> None:
    change(folder / file, **fields)
    [message] = complaints(folder)
    assert str(folder) in message
    assert words in message


def test_an_image_to_image_pipeline_has_the_same_parts(folder: Path) -> None:
    change(folder / "model_index.json", _class_name="StableDiffusionImg2ImgPipeline")
    assert complaints(folder) == []


def test_half_precision_files_alone_and_a_checker_that_was_deleted(folder: Path) -> None:
    whole = Backbone.load(folder)
    change(folder / "model_index.json", safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"])
    for part, name, variant in (
        ("unet", "diffusion_pytorch_model", "fp16"),
        ("vae", "diffusion_pytorch_model", "bf16"),
        ("text_encoder", "model", "fp16"),
    ):
        (folder / part / f"{name}.safetensors").rename(folder / part / f"{name}.{variant}.safetensors")
    assert complaints(folder) == []
    variant_state = Backbone.load(folder).state_dict()
    assert all(torch.equal(tensor, variant_state[name]) for name, tensor in whole.state_dict().items())


def test_variants_without_a_known_name_and_pickles(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    other = weights.rename(weights.with_name("diffusion_pytorch_model.non_ema.safetensors"))
    [message] = complaints(folder)
    assert "got diffusion_pytorch_model.non_ema.safetensors" in message
    assert "rename the file that you want" in message
    [message] = complaints(other)
    assert "no folder" in message
    other.rename(weights.with_suffix(".bin"))
    [message] = complaints(folder)
    assert "save_pretrained(FOLDER, safe_serialization=True)" in message


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
@pytest.mark.parametrize("harm", ["missing", "shape", "nan"])
def test_weights_that_would_stay_random_or_are_no_numbers(folder: Path, part: str, harm: str) -> None:
    [file] = (folder / part).glob("*.safetensors")
    tensors = load_file(file)
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 2)
    if harm == "missing":
        del tensors[name]
    elif harm == "shape":
        tensors[name] = tensors[name][:-1].clone()
    else:
        tensors[name][0, 0] = float("nan")
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(
        (CheckpointError, ConfigurationError), match=re.escape(name.removeprefix("text_model."))
    ) as raised:
        Backbone.load(folder)
    assert part in str(raised.value)


def test_text_encoders_with_and_without_the_level_of_transformers_4(folder: Path) -> None:
    file = folder / "text_encoder" / "model.safetensors"
    tensors = {name.removeprefix("text_model."): tensor for name, tensor in load_file(file).items()}
    embeddings = []
    for prefix in ("", "text_model."):
        save_file({prefix + name: tensor for name, tensor in tensors.items()}, file, {"format": "pt"})
        embeddings.append(Backbone.load(folder).encode(["a nurse"])["prompt_embeds"])
    assert torch.equal(*embeddings)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("vae/config.json", '{"_class_name": "AutoencoderKL", "block_out_channels": 5}'),
        ("tokenizer/tokenizer.json", "{}"),
        ("text_encoder/config.json", '{"hidden_size": "wide"}'),
        ("scheduler/scheduler_config.json", '{"_class_name": "DDIMScheduler", "beta_schedule": 3}'),
    ],
)
def test_damaged_configs_are_refused_with_the_folders_name(folder: Path, file: str, content: str) -> None:
    (folder / file).write_text(content)
    for opened in (Backbone.load, Backbone.skeleton):
        with pytest.raises(ConfigurationError, match=re.escape(str(folder))):
            opened(folder)


def test_a_snapshot_of_links(folder: Path, tmp_path: Path) -> None:
    linked = tmp_path / "snapshot"
    for file in folder.rglob("*"):
        if file.is_file():
            (linked / file.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            (linked / file.relative_to(folder)).symlink_to(file)
    assert complaints(linked) == []
    assert Backbone.load(linked).name == str(linked)


def test_a_model_of_the_hub_is_taken_from_its_copy(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checked as folders are, without a look at the network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    place = tmp_path / "hub" / "models--somebody--tiny"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    snapshot = place / "snapshots" / ("0" * 40)
    shutil.copytree(folder, snapshot)
    assert Backbone.load("somebody/tiny").latent_shape() == Backbone.load(folder).latent_shape()

    file = snapshot / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    del tensors["conv_in.bias"]
    save_file(tensors, file)
    with pytest.raises(CheckpointError, match=r"lack 'conv_in\.bias'"):
        Backbone.load("somebody/tiny")


@pytest.mark.parametrize("kind", ["StableDiffusionPipeline", "FluxPipeline"])
def test_what_is_not_here_is_downloaded_with_a_word_if_it_is_of_a_known_family(
    monkeypatch: pytest.MonkeyPatch, folder: Path, tmp_path: Path, caplog: Any, kind: str
) -> None:
    index, downloaded = tmp_path / "model_index.json", []
    shutil.copy(folder / "model_index.json", index)
    change(index, _class_name=kind)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda name, file: str(tmp_path / file))
    monkeypatch.setattr(DiffusionPipeline, "download", lambda name, **settings: downloaded.append(name) or str(folder))
    if kind == "FluxPipeline":
        with pytest.raises(ConfigurationError, match=r"somebody/absent/model_index\.json of a FluxPipeline"):
            Backbone.load("somebody/absent")
        assert downloaded == []
        return
    with caplog.at_level("INFO", "fairlit"):
        Backbone.load("somebody/absent")
    assert downloaded == ["somebody/absent"]
    assert "download somebody/absent: it is not on this machine yet" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.json", {"_class_name": "UNet2DConditionModel"}, "a UNet2DConditionModel, one model alone"),
        ("config.json", {"architectures": ["CLIPTextModel"]}, "a CLIPTextModel, one model alone"),
        ("modular_model_index.json", {"_class_name": "FluxModularPipeline"}, r"a modular pipeline \(FluxModular"),
        ("pytorch_lora_weights.safetensors", {}, "an adaptor, which goes onto a model"),
    ],
)
def test_folders_of_something_else_are_told_by_what_they_hold(
    tmp_path: Path, name: str, content: dict[str, Any], words: str
) -> None:
    (tmp_path / name).write_text(json.dumps(content))
    [message] = complaints(tmp_path)
    assert re.search(rf"got {re.escape(str(tmp_path))} with {words}", message)
    assert message.endswith(what_works())
