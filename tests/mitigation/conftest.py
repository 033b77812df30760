"""What the tests of mitigation methods share: a tiny random model, noise, and a way to run a method."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fairlit.diffusion import Backbone
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.sampling.noise import keyed_noise
from fairlit.mitigation import Chunk, Method, SamplingPlan

PROMPT = "a photo of the face of a doctor"
Run = Callable[..., Tensor]


@pytest.fixture
def backbone(tiny_pipeline_folder: Path) -> Backbone:
    return Backbone.load(tiny_pipeline_folder)


@pytest.fixture
def target() -> TargetDistribution:
    return TargetDistribution({"gender": {"woman": 0.5, "man": 0.5}})


@pytest.fixture
def run(backbone: Backbone, target: TargetDistribution) -> Run:
    """Final latents of a set of images by a method, given to it in chunks of any size."""

    def run_(
        method: Method,
        count: int = 4,
        chunk: int | None = None,
        batch_size: int = 3,
        guidance_scale: float = 2.0,
        prompt: str = PROMPT,
    ) -> Tensor:
        plan = SamplingPlan(steps=3, guidance_scale=guidance_scale, batch_size=batch_size)
        noise = keyed_noise([(0, image) for image in range(count)], backbone.latent_shape())
        with method.prepare(backbone, plan, target) as sample:
            parts = [
                sample(Chunk(prompt, positions.tolist(), count), noise[positions])
                for positions in torch.arange(count).split(chunk or count)
            ]
        return torch.cat(parts)

    return run_


@pytest.fixture
def state(backbone: Backbone) -> Callable[[], dict[str, Tensor]]:
    """A copy of all that a method could leave changed in the model."""
    return lambda: {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
