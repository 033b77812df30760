"""What the adaptor tests share: images, and adaptors that have "learned" something."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from fairlit.adaptors import Adaptor, Lora, SoftTokens

PROMPT = "a photo of the face of a doctor"

ADAPTORS: dict[str, Callable[[], Adaptor]] = {
    "text_encoder": lambda: Lora(rank=4),
    "unet": lambda: Lora(rank=3, text_encoder=False, unet=True),
    "both": lambda: Lora(rank=2, unet=True),
    "alpha": lambda: Lora(rank=4, alpha=10, unet=True),
    "soft_tokens": lambda: SoftTokens(count=5),
    "one_token": lambda: SoftTokens(count=1, token="<just>"),
}


@pytest.fixture(params=list(ADAPTORS))
def make_adaptor(request: pytest.FixtureRequest) -> Callable[[], Adaptor]:
    """Each kind of adaptor in turn."""
    return ADAPTORS[request.param]


@pytest.fixture
def open_pipeline(tiny_pipeline_folder: Path) -> Callable[[], StableDiffusionPipeline]:
    """Opens a fresh pipeline from disk each time."""

    def open_() -> StableDiffusionPipeline:
        pipeline = StableDiffusionPipeline.from_pretrained(tiny_pipeline_folder, local_files_only=True)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    return open_


@pytest.fixture
def generate() -> Callable[..., Tensor]:
    """Three sampling steps with guidance under a fixed noise: image [1, 3, 64, 64] in [0, 1]."""

    def generate_(pipeline: StableDiffusionPipeline, prompt: str = PROMPT) -> Tensor:
        generator = torch.Generator().manual_seed(5)
        return pipeline(prompt, num_inference_steps=3, generator=generator, output_type="pt").images

    return generate_


@pytest.fixture
def train() -> Callable[[Adaptor], None]:
    """Moves all parameters away from their start, as training would."""

    @torch.no_grad()
    def train_(adaptor: Adaptor) -> None:
        generator = torch.Generator().manual_seed(1)
        for parameter in adaptor.parameters().values():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))

    return train_
