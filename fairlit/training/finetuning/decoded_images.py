"""Images of a training step, decoded once for those who look at them and for the losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

Decoder = Callable[[Tensor], Tensor]


class DecodedPart(NamedTuple):
    """Images with the graph of their decoding.

    Attributes:
        place: where they stand among all images.
        latents: their latents [n, C, h, w], the leaf of the graph.
        images: [n, 3, H, W] in [0, 1].
    """

    place: slice
    latents: Tensor
    images: Tensor


class DecodedImages:
    """Decodes final latents, a few at a time, and keeps the graph of the first images for the losses.

    The losses hold the graph of `batch_size` images at any time, so keeping that many from the beginning needs no more
    memory than they do, and saves decoding these images a second time. The others are decoded anew.

    Args:
        decode: function from latents to images in [0, 1].
        latents: final latents [N, C, h, w]; a graph that they carry is left alone.
        batch_size: number of images that are decoded with gradient together.

    Attributes:
        pixels: all images [N, 3, H, W] in [0, 1], without gradient.
    """

    def __init__(self, decode: Decoder, latents: Tensor, batch_size: int) -> None:
        self._decode, self._latents, self._batch_size = decode, latents.detach(), batch_size
        with torch.no_grad():  # before a graph takes up memory
            others = [decode(self._latents[place]) for place in self._places()[1:]]
        self._first: DecodedPart | None = self._part(slice(0, min(batch_size, len(latents))))
        self.pixels = torch.cat([self._first.images.detach(), *others])

    @property
    def latents(self) -> Tensor:
        """The final latents [N, C, h, w], without gradient."""
        return self._latents

    def parts(self) -> Iterator[DecodedPart]:
        """Yield all images with the graph of their decoding, `batch_size` at a time."""
        for place in self._places():
            first, self._first = self._first, None  # whose graph is gone after its backward pass
            yield first or self._part(place)

    def _places(self) -> list[slice]:
        ends = range(self._batch_size, len(self._latents) + self._batch_size, self._batch_size)
        return [slice(end - self._batch_size, min(end, len(self._latents))) for end in ends]

    def _part(self, place: slice) -> DecodedPart:
        leaf = self._latents[place].clone().requires_grad_()
        with torch.enable_grad():
            return DecodedPart(place, leaf, self._decode(leaf))
