from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fairlit.diffusion import Backbone
from fairlit.diffusion.finiteness import check_finite, finite_images
from fairlit.errors import NotFiniteError


@pytest.fixture
def backbone(tiny_pipeline_folder: Path) -> Backbone:
    return Backbone.load(tiny_pipeline_folder)


def test_sound_latents_become_the_images_that_decode_gives(backbone: Backbone) -> None:
    latents = torch.randn(3, *backbone.latent_shape())
    with torch.no_grad():
        expected = backbone.decode(latents)
    torch.testing.assert_close(finite_images(backbone, latents, 2), expected, rtol=0, atol=1e-5)


def test_weights_that_are_not_finite_are_named(backbone: Backbone) -> None:
    latents = torch.zeros(3, *backbone.latent_shape())
    latents[1, 0, 0, 0] = torch.inf
    with torch.no_grad():
        backbone.unet.conv_out.weight[0] = torch.nan
    with pytest.raises(NotFiniteError, match=r"from the denoiser for 1 of 3; .* weights of the denoiser .* conv_out"):
        finite_images(backbone, latents, 8)


def test_an_autoencoder_that_overflows_is_told_by_its_precision(backbone: Backbone) -> None:
    with torch.no_grad():
        backbone.vae.decoder.conv_out.bias.fill_(torch.finfo(torch.float32).max)
        backbone.vae.decoder.conv_out.weight.fill_(torch.finfo(torch.float32).max)
    latents = torch.randn(2, *backbone.latent_shape())
    with pytest.raises(NotFiniteError, match=r"from the autoencoder for \d of 2; .* smaller guidance scale"):
        finite_images(backbone, latents, 2)
    backbone.vae.half()
    backbone.vae.decoder.conv_out.bias.data.fill_(1.0)
    backbone.vae.decoder.conv_out.weight.data.fill_(1.0)
    with pytest.raises(NotFiniteError, match=r"float16 overflows in the autoencoder .* bfloat16 or float32"):
        check_finite(backbone, torch.full((1, 3), torch.inf), "autoencoder")
