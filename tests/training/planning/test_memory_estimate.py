"""The estimate against the bytes that real tensors take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from fairlit.adaptors import Lora
from fairlit.diffusion import Conditioning, Rollout, replay
from fairlit.faces.detection import FaceDetection
from fairlit.training import FairFinetuner, Gradient, Models, Replay, Sampling
from fairlit.training.finetuning.kept_pairs import kept_bytes
from fairlit.training.planning.memory_estimate import Layout, estimate_memory, optimizer_states
from fairlit.training.profiling.live_memory import LiveMemory

MINIATURE = Path(__file__).parents[3] / "checkpoints" / "miniature"


def finetuner(**changes: Any) -> FairFinetuner:
    models = Models(str(MINIATURE / "pipeline"), str(MINIATURE / "classifier_train"), clip=str(MINIATURE / "clip"))
    settings: dict[str, Any] = {
        "models": models,
        "adaptor": Lora(rank=4, text_encoder=True, unet=True),
        "detection": FaceDetection(scale=2.0),
        "sampling": Sampling(min_steps=2, max_steps=3, guidance_scale=2.0, batch_size=2),
        "gradient": Gradient(loss_batch=2),
        "replay": Replay(micro_batch=2),
    }
    return FairFinetuner(**(settings | changes))


def elements(folder: Path) -> int:
    """Numbers in the safetensors files of a folder, read from their headers."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - it is no mapping
                total += torch.Size(file.get_slice(name).get_shape()).numel()
    return total


def test_estimate_of_the_miniature() -> None:
    module = finetuner()
    estimate = estimate_memory(module, Layout(images=4, on_gpu=False))
    assert estimate is not None
    assert estimate.left_out == []
    for name, folder in (("U-Net", "unet"), ("VAE", "vae"), ("text encoder", "text_encoder")):
        stored = 4 * elements(MINIATURE / "pipeline" / folder)
        assert estimate.weights[name] == pytest.approx(stored, rel=1e-3), name  # positions are no weights
    assert estimate.weights["CLIP"] == pytest.approx(4 * elements(MINIATURE / "clip"), rel=1e-3)
    assert estimate.total > sum(estimate.weights.values())

    module.configure_model()
    parameters = list(module.adaptor.parameters().values())
    assert sum(estimate.parameters.values()) == sum(parameter.numel() for parameter in parameters)
    assert estimate.trained == 4 * 5 * sum(parameter.numel() for parameter in parameters)  # AdamW and the average
    chain, weights = module.sampler.chain(3), module.sampler.weights(3)
    latents = torch.zeros(2, *module.backbone.latent_shape())
    with LiveMemory() as live:
        prompts = module.backbone.encode(["", "a photo of the face of a person, a person"])
        sampled = Rollout(latents, torch.zeros(1, *latents.shape))
        found = replay(
            chain,
            sampled,
            Conditioning.of_one_prompt(prompts, 2),
            weights,
            module.sampler.inner_parameters(),
            micro_batch=2,
        )
        torch.autograd.grad(found.sum(), parameters)
    assert estimate.phases["replay"] == pytest.approx(live.peak, rel=0.02)
    steps = module.sampling.max_steps
    one = kept_bytes(chain, latents[:1], module.sampler.conditioning("a photo of a person", 1), count=1)
    assert estimate.activations == pytest.approx(4 * steps * one, rel=0.1)  # prompts differ in length
    with LiveMemory() as live, torch.no_grad():
        module.backbone.decode(latents)
    assert estimate.phases["decoding"] == pytest.approx(live.peak, rel=0.05)


def skip_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every phase takes 1000 bytes."""
    for name in ("sample", "decode", "judge", "backward"):
        monkeypatch.setattr(f"fairlit.training.planning.memory_estimate._Step.{name}", lambda self: torch.zeros(250))


def test_the_layout_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what the layout changes is compared; the phases' figures come from the test above."""
    skip_phases(monkeypatch)
    module, layout = finetuner(), Layout(images=4)
    plain, sharded, double = (
        estimate_memory(module, settings) for settings in (layout, replace(layout, shards=2), replace(layout, images=8))
    )
    assert plain is not None
    assert sharded is not None
    assert double is not None
    assert plain.phases["replay"] == 1000
    assert sharded.weights["U-Net"] == plain.weights["U-Net"] // 2
    assert sharded.weights["VAE"] == plain.weights["VAE"]
    assert double.weights == plain.weights
    side, latent = 64, 4 * 16 * 16
    assert plain.images == 4 * 4 * (2 * 3 * side * side + 5 * latent)
    assert double.images == 2 * plain.images
    assert plain.activations == 0  # on a GPU nothing is kept unless asked for


def test_no_more_activations_are_counted_than_the_budget_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    skip_phases(monkeypatch)
    for gradient, expected in ((Gradient(), 2**20), (Gradient(mode="detached"), 0)):
        estimate = estimate_memory(finetuner(gradient=gradient, replay=Replay(keep=2**-10)), Layout(images=4))
        assert estimate is not None
        assert estimate.activations == expected
        before = sum(estimate.weights.values()) + estimate.trained + estimate.images
        assert estimate.total == before + expected + 1000


@pytest.mark.parametrize(
    ("optimizer", "states"),
    [
        (torch.optim.AdamW, 2),
        (lambda parameters: torch.optim.SGD(parameters, lr=1.0), 0),
        (lambda parameters: torch.optim.SGD(parameters, lr=1.0, momentum=0.9), 1),
    ],
)
def test_what_the_optimizer_keeps(optimizer: Any, states: int) -> None:
    assert optimizer_states(finetuner(optimizer=optimizer)) == states


def test_a_model_that_is_not_here() -> None:
    assert estimate_memory(finetuner(models=Models("nobody/has-this-model", "nowhere")), Layout(images=4)) is None
