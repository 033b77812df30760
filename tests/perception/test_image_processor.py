from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BaseImageProcessor,
    BitImageProcessor,
    CLIPImageProcessor,
    ConvNextImageProcessor,
    EfficientNetImageProcessor,
    MobileViTImageProcessor,
    ViTImageProcessor,
)

from fairlit.errors import CheckpointError, ConfigurationError
from fairlit.perception.image_processor import PixelSettings, read_pixel_settings
from fairlit.perception.pixels import PixelNormalizer

DEFAULTS = PixelSettings(size=48, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
SQUARE = {"height": 32, "width": 32}


def settings_of(processor: BaseImageProcessor, folder: Path) -> PixelSettings:
    processor.save_pretrained(folder)
    return read_pixel_settings(str(folder), DEFAULTS, local_files_only=True)


@pytest.mark.parametrize(
    "processor",
    [
        ViTImageProcessor(size=SQUARE),
        ViTImageProcessor(size=SQUARE, do_normalize=False),
        ViTImageProcessor(size=SQUARE, do_rescale=False),
        ViTImageProcessor(size=SQUARE, do_rescale=False, do_normalize=False),
        ViTImageProcessor(size=SQUARE, rescale_factor=1 / 127.5, image_mean=[1.0] * 3, image_std=[1.0] * 3),
        CLIPImageProcessor(size=SQUARE, crop_size={"height": 28, "width": 28}, do_center_crop=False),
        EfficientNetImageProcessor(size=SQUARE),  # which normalises twice
        EfficientNetImageProcessor(size=SQUARE, rescale_offset=True, rescale_factor=1 / 127.5),
        ConvNextImageProcessor(size={"shortest_edge": 32}),
    ],
)
def test_numbers_are_those_that_the_processor_gives(processor: BaseImageProcessor, tmp_path: Path) -> None:
    found = settings_of(processor, tmp_path)
    colours = torch.randint(0, 256, (6, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    pictures = colours[:, :, None, None].expand(-1, -1, 40, 40)
    expected = processor(list(pictures), return_tensors="pt", input_data_format="channels_first")["pixel_values"]
    pixels = PixelNormalizer(found.size, found.mean, found.std)(pictures.float() / 255)
    torch.testing.assert_close(pixels, expected.float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("processor", "size", "kept"),
    [
        (BitImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 56, "width": 56}), 56, 0.875),
        (BitImageProcessor(size=SQUARE, crop_size={"height": 28, "width": 28}, do_center_crop=False), 32, 1.0),
        (BitImageProcessor(do_resize=False, do_center_crop=True, crop_size={"height": 28, "width": 28}), 28, 1.0),
        (BitImageProcessor(do_resize=False, do_center_crop=False), 48, 1.0),  # the model's own
        (ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.8), 32, 0.8),
        (ConvNextImageProcessor(size={"shortest_edge": 384}, crop_pct=0.8), 384, 1.0),
    ],
)
def test_sizes_and_crops_that_are_switched_off_are_left_away(
    processor: BaseImageProcessor, size: int, kept: float, tmp_path: Path
) -> None:
    found = settings_of(processor, tmp_path)
    assert (found.size, found.kept) == (size, pytest.approx(kept))


def test_numbers_that_are_stated_stay_as_they_are(tmp_path: Path) -> None:
    """Bit for bit, as what was computed with them is compared with what will be."""
    mean, std = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    found = settings_of(CLIPImageProcessor(image_mean=mean, image_std=std), tmp_path)
    assert (found.size, list(found.mean), list(found.std)) == (224, mean, std)


def test_a_model_without_a_processor_has_the_defaults(tmp_path: Path) -> None:
    assert read_pixel_settings(str(tmp_path), DEFAULTS, local_files_only=True) == DEFAULTS


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"size": 32}, {"size": 32}),
        ({"size": 32, "do_normalize": False}, {"size": 32, "mean": (0.0,) * 3, "std": (1.0,) * 3}),
        ({"size": 48, "image_mean": [0.5]}, {"mean": (0.5,) * 3}),
        ({"size": 40, "crop_size": 32, "image_mean": 0.5}, {"size": 32, "mean": (0.5,) * 3, "kept": 0.8}),
    ],
)
def test_processors_of_no_known_class_are_read_by_their_fields(
    content: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(content))
    found = read_pixel_settings(str(tmp_path), DEFAULTS, local_files_only=True)
    assert vars(found) == vars(DEFAULTS) | expected


@pytest.mark.parametrize(
    "content",
    [
        "{x",
        "[1]",
        "[" * 100_000,
        '{"size": 32, "image_mean": ["dark"]}',
        '{"image_processor_type": "CLIPImageProcessor", "size": "x"}',
        '{"image_processor_type": "CLIPImageProcessor", "image_std": [0, 0, 0]}',
        '{"image_processor_type": "CLIPImageProcessor", "image_mean": [0.5, 0.5]}',
    ],
)
def test_damaged_processors_are_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(content)
    with pytest.raises((CheckpointError, ConfigurationError), match=str(tmp_path)):
        read_pixel_settings(str(tmp_path), DEFAULTS, local_files_only=True)


@pytest.mark.parametrize(
    ("processor", "reason"),
    [
        (MobileViTImageProcessor(size={"shortest_edge": 32}, crop_size=SQUARE), "exchanges colours"),
        (CLIPImageProcessor(size=SQUARE, crop_size={"height": 48, "width": 48}), "pads"),
        (ViTImageProcessor(size={"height": 32, "width": 48}), "makes no squares"),
    ],
)
def test_processors_that_do_more_are_refused(processor: BaseImageProcessor, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        settings_of(processor, tmp_path)
