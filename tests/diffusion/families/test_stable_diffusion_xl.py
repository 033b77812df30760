from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from tiny_xl import build_tiny_xl
from torch import Tensor

from fairlit.adaptors import Lora, SoftTokens
from fairlit.diffusion import Backbone, Chain, Conditioning, Pairs, check_pipeline, detached_graph, replay, rollout
from fairlit.diffusion.inpainting import Inpainter
from fairlit.diffusion.kept_activations import KeptActivations
from fairlit.diffusion.pipeline_digest import pipeline_digest
from fairlit.errors import ConfigurationError, Problems
from fairlit.functional.sampling.solver import linear_solver, output_weights
from fairlit.mitigation import Chunk, FairDiffusion, NoMitigation, PromptProjection, SamplingPlan

PROMPTS = ["a photo of the face of a doctor", "a nurse"]


@pytest.fixture
def pipeline(tiny_pipeline: StableDiffusionPipeline) -> StableDiffusionXLPipeline:
    """A tiny random SDXL, the test's own to change."""
    return build_tiny_xl(tiny_pipeline)


def noise_of(backbone: Backbone, size: int | tuple[int, int] | None = None) -> Tensor:
    return torch.randn(2, *backbone.latent_shape(size), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("steps", "guidance_scale", "zeros"), [(1, 1.0, True), (4, 3.0, True), (4, 3.0, False)])
def test_latents_and_images_are_the_stock_pipelines(
    pipeline: StableDiffusionXLPipeline, steps: int, guidance_scale: float, zeros: bool
) -> None:
    """At another size than the model's own, with an empty prompt of zeros and one that is read."""
    pipeline.register_to_config(force_zeros_for_empty_prompt=zeros)
    backbone, size = Backbone(pipeline, prompt_padding="max_length"), (48, 80)
    chain = Chain(backbone, linear_solver(backbone.scheduler, steps), guidance_scale)
    with torch.no_grad():
        conditioning = Conditioning.of_prompts(backbone.encode(["", *PROMPTS]), torch.tensor([1, 2]))
        latents = rollout(chain, noise_of(backbone, size), conditioning).latents
        images = backbone.decode(latents)
    call: dict[str, Any] = {"num_inference_steps": steps, "guidance_scale": guidance_scale}
    call |= {"height": size[0], "width": size[1], "latents": noise_of(backbone, size)}
    expected = pipeline(PROMPTS, **call, output_type="latent").images
    assert (latents - expected).abs().max() < 1e-5 * expected.abs().max()
    torch.testing.assert_close(images, pipeline(PROMPTS, **call, output_type="pt").images, atol=1e-4, rtol=0)


PARTS = ["text_encoder", "text_encoder_2", "unet"]


@pytest.mark.parametrize("part", [*PARTS, "soft tokens"])
def test_the_replay_is_the_detached_graph(pipeline: StableDiffusionXLPipeline, part: str) -> None:
    """For each part that can be trained, micro-batch and number of kept evaluations; every parameter learns."""
    adaptor = SoftTokens(count=2) if part not in PARTS else Lora(rank=2, **{name: name == part for name in PARTS})
    backbone = Backbone(pipeline)
    adaptor.attach(backbone)
    backbone.double()
    generator = torch.Generator().manual_seed(1)
    parameters = list(adaptor.parameters().values())
    for parameter in parameters:  # starts at zero, where half its gradient vanishes
        parameter.data = 0.05 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    chain = Chain(backbone, linear_solver(backbone.scheduler, 3), 3.0)
    weights, noise = output_weights(backbone.scheduler, 3, "natural"), noise_of(backbone).double()
    inner = [parameter for parameter in backbone.denoiser.parameters() if parameter.requires_grad]
    assert len(inner) == (len(parameters) if part == "unet" else 0)

    def conditioning() -> Conditioning:
        texts = ["", *map(adaptor.adapt_prompt, PROMPTS)]
        return Conditioning.of_prompts(backbone.encode(texts), torch.tensor([1, 2]))

    def gradients(latents: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(latents.tanh().sum(), parameters)

    expected = gradients(detached_graph(chain, noise, conditioning(), weights=weights))
    assert all(gradient.any() for gradient in expected)
    for micro_batch, count in ((1, 0), (4, 0), (4, 3), (6, 6)):
        prompts, pairs = conditioning(), Pairs.all(3, 2, noise.device)
        keep = KeptActivations.first(count, pairs.evaluations, pairs.images, shape=(3, 2), conditioning=prompts)
        sampled = rollout(chain, noise, prompts, keep=keep if count else None)
        found = gradients(replay(chain, sampled, prompts, weights, inner, micro_batch=micro_batch))
        for gradient, right in zip(found, expected, strict=True):
            assert (gradient - right).norm() < 1e-10 * right.norm()


def test_the_last_layer_of_the_first_text_encoder_is_left_alone(pipeline: StableDiffusionXLPipeline) -> None:
    """Its output is not read; the second encoder's is, by the pooled embedding."""
    adaptor = Lora(rank=2, text_encoder_2=True)
    adaptor.attach(pipeline)
    layers = {name.split(".lora_")[0] for name in adaptor.parameters()}
    both = {(name.split(".")[0], name.split(".layers.")[1][0]) for name in layers}
    assert both == {("text_encoder", "0"), ("text_encoder_2", "0"), ("text_encoder_2", "1")}


def test_layers_that_nothing_reads_and_parts_that_are_not_there_are_refused(
    pipeline: StableDiffusionXLPipeline, tiny_pipeline: StableDiffusionPipeline
) -> None:
    with pytest.raises(ConfigurationError, match=r"got 'layers\.1\.mlp\.fc1', whose output the model does not read"):
        Lora(text_encoder_modules=["q_proj", "layers.1.mlp.fc1"]).attach(pipeline)
    with pytest.raises(ConfigurationError, match=r"text_encoder_2: got true for Stable Diffusion 1\.x or 2\.x, which"):
        Lora(text_encoder_2=True).attach(tiny_pipeline)


def test_guidance_of_one_and_less_is_one_evaluation(pipeline: StableDiffusionXLPipeline) -> None:
    """As in the stock pipeline, which Turbo models are called with 0."""
    backbone, sizes = Backbone(pipeline, prompt_padding="max_length"), list[int]()
    backbone.unet.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    with torch.no_grad():
        conditioning = Conditioning.of_prompts(backbone.encode(["", *PROMPTS]), torch.tensor([1, 2]))
        chain = Chain(backbone, linear_solver(backbone.scheduler, 1), 0.0)
        latents = rollout(chain, noise_of(backbone), conditioning).latents
    call: dict[str, Any] = {"num_inference_steps": 1, "guidance_scale": 0.0, "latents": noise_of(backbone)}
    expected = pipeline(PROMPTS, **call, output_type="latent").images
    assert sizes == [2, 2]
    assert (latents - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize(("upcast", "dtype"), [(True, torch.float32), (False, torch.float16)])
def test_autocast_leaves_an_autoencoder_that_overflows_alone(
    pipeline: StableDiffusionXLPipeline, upcast: bool, dtype: torch.dtype
) -> None:
    pipeline.vae.register_to_config(force_upcast=upcast)
    backbone, seen = Backbone(pipeline), list[torch.dtype]()
    backbone.vae.decoder.conv_in.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.float16):
        backbone.decode(noise_of(backbone))
    assert seen == [dtype]


def test_prompts_between_two_are_mixed_in_both_text_encoders(pipeline: StableDiffusionXLPipeline) -> None:
    backbone = Backbone(pipeline)
    one, other = ["", "a doctor"], ["", "a nurse"]
    whole = backbone.encode_mixed(one, other, 1.0)
    torch.testing.assert_close(whole, backbone.encode(other))
    half = backbone.encode_mixed(one, other, 0.5)
    for name, tensor in half.items():
        assert not tensor[0].any()
        assert not torch.allclose(tensor[1], whole[name][1], atol=1e-4)


def test_an_autoencoder_that_overflows_stays_in_float32(pipeline: StableDiffusionXLPipeline, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path)
    backbone = Backbone.load(tmp_path, dtype=torch.float16)
    assert {name: getattr(backbone, name).dtype for name in ("unet", "text_encoder_2", "vae")} == {
        "unet": torch.float16,
        "text_encoder_2": torch.float16,
        "vae": torch.float32,
    }
    config = tmp_path / "vae" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"force_upcast": False}))
    assert Backbone.load(tmp_path, dtype=torch.float16).vae.dtype == torch.float16


def test_part_of_an_image_is_made_anew(pipeline: StableDiffusionXLPipeline) -> None:
    inpainter = Inpainter(Backbone(pipeline), 4, 2.0, strength=0.5)
    masks = torch.zeros(1, 60, 64)
    masks[:, 20:40, 20:40] = 1
    assert inpainter(torch.rand(1, 3, 60, 64), masks, ["a nurse"], [(0, 0)]).shape == (1, 3, 60, 64)


@pytest.mark.parametrize("zeros", [True, False])
def test_a_part_is_guided_away_from_what_a_whole_image_is(pipeline: StableDiffusionXLPipeline, zeros: bool) -> None:
    pipeline.register_to_config(force_zeros_for_empty_prompt=zeros)
    backbone, read = Backbone(pipeline, prompt_padding="max_length"), []
    backbone.unet.register_forward_pre_hook(
        lambda module, inputs, named: read.append(named["encoder_hidden_states"]), with_kwargs=True
    )
    Inpainter(backbone, 4, 2.0, strength=0.5)(torch.rand(1, 3, 64, 64), torch.ones(1, 64, 64), ["a nurse"], [(0, 0)])
    expected = backbone.encode(["", "a nurse"])["prompt_embeds"]
    assert bool(expected[0].any()) is not zeros
    torch.testing.assert_close(read, [expected, expected])


def test_an_autoencoder_in_float32_stays_so_while_parts_are_made_anew(pipeline: StableDiffusionXLPipeline) -> None:
    backbone = Backbone(pipeline).half()
    backbone.vae.float()
    before = {name: tensor.clone() for name, tensor in backbone.vae.state_dict().items()}
    Inpainter(backbone, 4, 2.0, strength=0.5)(torch.rand(1, 3, 64, 64), torch.ones(1, 64, 64), ["a nurse"], [(0, 0)])
    torch.testing.assert_close(dict(backbone.vae.state_dict()), before, atol=0, rtol=0)


@pytest.mark.parametrize(
    ("file", "fields", "words"),
    [
        ("unet/config.json", {"addition_embed_type": None}, "addition_embed_type None"),
        ("unet/config.json", {"cross_attention_dim": 32}, r"text_encoder and text_encoder_2 make 32 \+ 24"),
        ("model_index.json", {"text_encoder": [None, None]}, "expected CLIPTextModel"),  # as refiners have it
    ],
)
def test_what_is_no_base_model(
    pipeline: StableDiffusionXLPipeline, tmp_path: Path, file: str, fields: dict[str, Any], words: str
) -> None:
    pipeline.save_pretrained(tmp_path)
    problems = Problems("test")
    check_pipeline(tmp_path, problems)
    assert problems.messages == []
    (tmp_path / file).write_text(json.dumps(json.loads((tmp_path / file).read_text()) | fields))
    changed = Problems("test")
    check_pipeline(tmp_path, changed)
    [message] = changed.messages
    assert re.search(words, message)


def test_the_digest_knows_how_the_empty_prompt_is_read(pipeline: StableDiffusionXLPipeline, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path)
    before, index = pipeline_digest(tmp_path), tmp_path / "model_index.json"
    assert pipeline_digest(tmp_path) == before
    index.write_text(json.dumps(json.loads(index.read_text()) | {"force_zeros_for_empty_prompt": False}))
    assert Backbone.load(tmp_path).encode([""])["prompt_embeds"].any()
    assert pipeline_digest(tmp_path) != before


def test_methods_for_one_text_encoder_are_refused_and_others_sample(pipeline: StableDiffusionXLPipeline) -> None:
    backbone, words = Backbone(pipeline), {"gender": {"female": "woman", "male": "man"}}
    problems = Problems("test")
    for method in (NoMitigation(), FairDiffusion(words=words)):
        method.check_family(backbone.family, problems)
    assert problems.messages == []
    PromptProjection(words=words).check_family(backbone.family, problems)
    [message] = problems.messages
    assert "'debiasVL' for Stable Diffusion XL, which has 2 text encoders" in message
    plan = SamplingPlan(steps=2, guidance_scale=2.0, batch_size=2)
    with NoMitigation().prepare(backbone, plan, None) as sample:
        assert sample(Chunk.whole(PROMPTS[0], 2), noise_of(backbone)).isfinite().all()
