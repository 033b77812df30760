"""Decoding once: the same images and gradients as decoding anew, and how often the decoder runs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fairlit.training.finetuning.decoded_images import DecodedImages

WEIGHT = torch.linspace(-1.0, 1.0, 4)


class CountingDecoder:
    """A decoder with a gradient of its own for each element, which notes how many images it gets, and how.

    It multiplies only, so that an image is the same to the bit in a batch of any size, on any processor.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[int, bool]] = []

    def __call__(self, latents: Tensor) -> Tensor:
        self.calls.append((len(latents), torch.is_grad_enabled()))
        return (latents * WEIGHT.to(latents)).square()


@pytest.mark.parametrize("batch_size", [2, 3, 5, 7])
def test_images_and_gradients_are_those_of_decoding_anew(batch_size: int) -> None:
    latents = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    images = DecodedImages(CountingDecoder(), latents, batch_size)
    anew = (latents * WEIGHT).square()
    assert torch.equal(images.pixels, anew)
    assert not images.pixels.requires_grad
    gradient = torch.full_like(latents, torch.nan)
    for part in images.parts():
        assert torch.equal(part.images, anew[part.place])
        gradient[part.place] = torch.autograd.grad(part.images.square().sum(), part.latents)[0]
    torch.testing.assert_close(gradient, 4 * anew * latents * WEIGHT**2, rtol=1e-6, atol=1e-7)


def test_the_first_images_are_decoded_once_and_with_gradient_last() -> None:
    """While other images are decoded without gradient, no graph takes up memory."""
    decoder = CountingDecoder()
    images = DecodedImages(decoder, torch.randn(5, 4), 2)
    assert decoder.calls == [(2, False), (1, False), (2, True)]
    decoder.calls.clear()
    assert [part.place for part in images.parts()] == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert decoder.calls == [(2, True), (1, True)]


def test_parts_can_be_asked_for_again() -> None:
    images = DecodedImages(CountingDecoder(), torch.randn(3, 4), 4)
    for _ in range(2):
        [part] = images.parts()
        [gradient] = torch.autograd.grad(part.images.sum(), part.latents)
        assert gradient.shape == (3, 4)


def test_a_graph_of_the_latents_is_left_alone() -> None:
    given = torch.randn(3, 4, requires_grad=True)
    images = DecodedImages(CountingDecoder(), 2 * given, 4)
    [part] = images.parts()
    part.images.sum().backward()
    assert given.grad is None
    assert not images.latents.requires_grad
