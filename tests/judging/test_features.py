from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from fairlit.errors import NotFiniteError
from fairlit.judging.features import Encoders, image_features
from fairlit.judging.image_folders import find_images
from fairlit.perception import ClipEncoder

RED, BLUE = (220, 40, 40), (40, 40, 220)


class MeanColour(nn.Module):
    """Encodes an image as its mean colour, and counts the images."""

    dim = 3

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.encoded = 0

    def image_features(self, images: Tensor) -> Tensor:
        self.encoded += len(images)
        return nn.functional.normalize(self.scale * images.mean(dim=(2, 3)), dim=-1)


def test_features_are_recalled_unless_a_byte_has_changed(colour_folder: Callable[..., Path], tmp_path: Path) -> None:
    encoder, cache = MeanColour(), tmp_path / "features.safetensors"
    encoders = Encoders(dino=cast("Any", encoder))
    folder = find_images(colour_folder([RED, BLUE]))
    expected = image_features(folder, encoders, cache)["dino"]
    assert torch.equal(image_features(folder, encoders, cache)["dino"], expected)
    assert encoder.encoded == 2
    written = bytearray(cache.read_bytes())
    written[-3] ^= 1  # within the last number
    cache.write_bytes(written)
    assert torch.equal(image_features(folder, encoders, cache)["dino"], expected)
    assert encoder.encoded == 4
    assert torch.equal(image_features(folder, encoders, cache)["dino"], expected)
    assert encoder.encoded == 4  # and what was computed again was kept


def test_pictures_of_any_sizes_keep_their_places(colour_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = colour_folder([RED, BLUE, RED])
    (root / "prompt_0" / "img_1.png").write_bytes(b"no picture")
    found = image_features(find_images(root), Encoders(dino=cast("Any", MeanColour())), tmp_path / "f.safetensors")
    red = nn.functional.normalize(torch.tensor(RED).float(), dim=0)
    torch.testing.assert_close(found["dino"][[0, 2]], red.expand(2, 3))
    assert bool(found["dino"][1].isnan().all())


def test_features_that_are_not_finite_become_no_figure(colour_folder: Callable[..., Path], tmp_path: Path) -> None:
    encoder, cache = MeanColour(), tmp_path / "features.safetensors"
    encoder.scale.data.fill_(torch.inf)  # as a network that overflows
    with pytest.raises(NotFiniteError, match="dino: features of images: got NaN or infinity for 2 of 2"):
        image_features(find_images(colour_folder([RED, BLUE])), Encoders(dino=cast("Any", encoder)), cache)
    assert not cache.exists()


def test_features_of_texts_are_finite(tiny_models: dict[str, str]) -> None:
    clip = ClipEncoder.load(tiny_models["clip"])
    clip.model.text_projection.weight.data[0] = torch.nan
    with pytest.raises(NotFiniteError, match="clip: features of texts: got NaN or infinity for 2 of 2"):
        Encoders(clip=clip).text_features(["a doctor", "a nurse"])


def test_features_are_those_of_the_same_image_processor(colour_folder: Callable[..., Path], tmp_path: Path) -> None:
    encoder, cache = MeanColour(), tmp_path / "features.safetensors"
    encoder.register_buffer("mean", torch.zeros(3), persistent=False)
    folder, encoders = find_images(colour_folder([RED, BLUE])), Encoders(dino=cast("Any", encoder))
    image_features(folder, encoders, cache)
    image_features(folder, encoders, cache)
    assert encoder.encoded == 2
    encoder.mean.fill_(0.5)  # as where do_normalize is switched off
    image_features(folder, encoders, cache)
    assert encoder.encoded == 4
