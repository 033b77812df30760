"""Masked img2img: what it leaves alone, what it depends on, and sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fairlit.diffusion import Backbone
from fairlit.diffusion.inpainting import Inpainter
from fairlit.errors import ConfigurationError

PROMPTS = ["a photo of a doctor", "a photo of a nurse"]
KEYS = [(0, 1), (0, 2)]


@pytest.fixture(scope="module")
def backbone(tiny_pipeline_folder: Path) -> Backbone:
    return Backbone.load(tiny_pipeline_folder)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def masks() -> torch.Tensor:
    masks = torch.zeros(2, 64, 64)
    masks[0, 8:24, 8:24] = 1
    masks[1, 40, 40] = 0.01  # a single faint pixel: its whole latent cell
    return masks


def test_latents_outside_the_mask_are_the_originals(
    backbone: Backbone, images: torch.Tensor, masks: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    decode = backbone.vae.decode

    def noting(latents: torch.Tensor, *args: object, **kwargs: object) -> object:
        seen.append(latents * backbone.vae.config.scaling_factor)
        return decode(latents, *args, **kwargs)

    monkeypatch.setattr(backbone.vae, "decode", noting)
    inpaint = Inpainter(backbone, steps=4, guidance_scale=2.0, strength=0.8)
    inpaint(images, torch.zeros_like(masks), PROMPTS, KEYS)
    inpaint(images, masks, PROMPTS, KEYS)
    nothing, some = seen  # the first call encodes with the same draw of the posterior
    changed = (some != nothing).any(dim=1)
    expected = torch.zeros(2, 16, 16, dtype=torch.bool)
    expected[0, 2:6, 2:6] = True
    expected[1, 10, 10] = True
    assert torch.equal(changed, expected)


def test_an_image_depends_on_its_prompt_and_key_alone(
    backbone: Backbone, images: torch.Tensor, masks: torch.Tensor
) -> None:
    inpaint = Inpainter(backbone, steps=4, guidance_scale=2.0, strength=0.5)
    both = inpaint(images, masks, PROMPTS, KEYS)
    assert both.shape == images.shape
    assert bool(((both >= 0) & (both <= 1)).all())
    torch.testing.assert_close(inpaint(images[1:], masks[1:], PROMPTS[1:], KEYS[1:]), both[1:], rtol=0, atol=1e-4)
    assert not torch.allclose(inpaint(images[:1], masks[:1], PROMPTS[:1], [(0, 3)]), both[:1], atol=1e-3)
    assert not torch.allclose(inpaint(images[:1], masks[:1], PROMPTS[1:], KEYS[:1]), both[:1], atol=1e-3)


def test_any_size_and_the_model_is_as_it_was(backbone: Backbone) -> None:
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    timesteps = backbone.scheduler.timesteps.clone()
    image = torch.rand(1, 3, 61, 90, generator=torch.Generator().manual_seed(1))
    made = Inpainter(backbone, 3, 1.0, strength=1.0)(image, torch.ones(1, 61, 90), PROMPTS[:1], KEYS[:1])
    assert made.shape == image.shape
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())
    assert torch.equal(backbone.scheduler.timesteps, timesteps)


def test_no_step_to_take(backbone: Backbone) -> None:
    with pytest.raises(ConfigurationError, match=r"strength: got 0.2 of 4 steps"):
        Inpainter(backbone, steps=4, guidance_scale=1.0, strength=0.2)
