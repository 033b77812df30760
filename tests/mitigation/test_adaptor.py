"""Finetuned adaptors as a method."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from closeness import close
from safetensors.torch import save_file
from torch import Tensor

from fairlit.adaptors import Adaptor, AdaptorMetadata, Lora, SoftTokens
from fairlit.diffusion import Backbone, Conditioning, rollout
from fairlit.errors import CheckpointError, ConfigurationError, Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.sampling.noise import keyed_noise
from fairlit.mitigation import FinetunedAdaptor, NoMitigation, SamplingPlan

Run = Callable[..., Tensor]


@torch.no_grad()
def trained(adaptors: list[Adaptor], source: Path, folder: Path) -> Backbone:
    """A model with adaptors that have learned something, which are also saved to `folder`."""
    backbone = Backbone.load(source)
    generator = torch.Generator().manual_seed(1)
    for adaptor in adaptors:
        adaptor.attach(backbone)
        for parameter in adaptor.parameters().values():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        adaptor.save(folder, backbone, AdaptorMetadata())
    return backbone


@pytest.mark.parametrize("kinds", [("lora",), ("tokens",), ("tokens", "lora")], ids="+".join)
def test_samples_as_in_training_and_leaves_no_trace(
    kinds: tuple[str, ...],
    run: Run,
    backbone: Backbone,
    state: Callable[[], dict[str, Tensor]],
    tiny_pipeline_folder: Path,
    tmp_path: Path,
) -> None:
    before, plain = state(), run(NoMitigation())
    tokens = SoftTokens(count=2)
    adaptors = [{"tokens": tokens, "lora": Lora(rank=2, alpha=5, unet=True)}[kind] for kind in kinds]
    model = trained(adaptors, tiny_pipeline_folder, tmp_path)
    method = FinetunedAdaptor(str(tmp_path))
    latents = run(method)
    assert not close(latents, plain, 2e-4)
    after = state()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert len(backbone.tokenizer) == backbone.text_encoder.config.vocab_size
    assert torch.equal(run(NoMitigation()), plain)

    prompt = "a photo of the face of a doctor"
    prompts = model.encode(["", tokens.adapt_prompt(prompt) if "tokens" in kinds else prompt])
    noise = keyed_noise([(0, image) for image in range(4)], backbone.latent_shape())
    chain = SamplingPlan(steps=3, guidance_scale=2.0).chain(model)
    expected = rollout(chain, noise, Conditioning.of_one_prompt(prompts, 4)).latents
    assert close(latents, expected)


def test_says_what_is_wrong_with_the_path(
    tmp_path: Path, target: TargetDistribution, run: Run, state: Callable[[], dict[str, Tensor]]
) -> None:
    problems = Problems("method")
    method = FinetunedAdaptor(str(tmp_path / "absent"))
    method.check(target, problems)
    assert "no such file or folder" in problems.messages[0]
    before = state()
    with pytest.raises(CheckpointError, match="no such file"):
        run(method)
    assert list(state()) == list(before)


@pytest.mark.parametrize("tensor", [torch.tensor([[float("nan"), 1.0]]), torch.ones(1, 2, dtype=torch.int8)])
def test_damaged_adaptors_are_refused_before_weights_load(tensor: Tensor, tmp_path: Path) -> None:
    save_file({"<x>": tensor}, tmp_path / "some.safetensors")
    method = FinetunedAdaptor(str(tmp_path / "some.safetensors"))
    with pytest.raises(ConfigurationError, match=r"path: .*some\.safetensors"), Problems("adaptor") as problems:
        method.check(None, problems)
