"""What the image processor saved beside a model makes of pictures, field by field and as it is seen to work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoImageProcessor
from transformers.image_processing_base import ImageProcessingMixin

from fairlit.errors import CheckpointError, ConfigurationError

_CONFIG = "preprocessor_config.json"
_SIDE = 640  # of the pictures that a processor is tried on: larger than what processors cut out
_GREY = 51 / 255
_WARPED_FROM = 384  # from this side on, ConvNeXT's processor cuts nothing away
_TOLERANCE = 1e-3  # of what a processor gives, absolute and relative


@dataclass(frozen=True, kw_only=True)
class PixelSettings:
    """How a model wants its pictures.

    Attributes:
        size: side of its input in pixels.
        mean: number subtracted from each channel of images in [0, 1].
        std: number that each channel is then divided by.
        kept: share of the side of a square picture that is left after a central crop, in (0, 1].
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    kept: float = 1.0


def read_pixel_settings(path: str, defaults: PixelSettings, *, local_files_only: bool = False) -> PixelSettings:
    """Return what the image processor beside a model says, with what it leaves out or switches off.

    Args:
        path: folder or hub id of the model.
        defaults: settings of a model that was saved without an image processor.
        local_files_only: whether the hub is never asked.

    Raises:
        CheckpointError: its config is damaged.
        ConfigurationError: it does more than resize, crop, rescale and normalise square pictures.
    """
    try:
        settings, _ = ImageProcessingMixin.get_image_processor_dict(path, local_files_only=local_files_only)
    except RecursionError as error:
        raise _damaged(path, error) from error
    except OSError as error:
        if (Path(path) / _CONFIG).is_file():  # transformers 5 says OSError of both
            raise _damaged(path, error) from error
        return defaults  # the model was saved without one
    if not isinstance(settings, dict):
        raise _damaged(path, "no mapping")
    try:
        processor = AutoImageProcessor.from_pretrained(path, local_files_only=local_files_only)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if "Unrecognized image processor" not in str(error):
            raise _damaged(path, error) from error
        return _stated(path, settings, defaults)  # of a class that transformers does not know
    stated = _stated(path, processor.to_dict(), defaults)
    try:
        tried = _try(processor)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise _damaged(path, error) from error
    return _confirmed(path, stated, tried)


def _stated(path: str, fields: Mapping[str, Any], defaults: PixelSettings) -> PixelSettings:
    """What the fields of a processor say; where they switch something off, it is left out."""
    size = _side(fields.get("size")) if fields.get("do_resize", True) else None
    crop = _side(fields.get("crop_size")) if fields.get("do_center_crop", "crop_size" in fields) else None
    kept = min(1.0, crop / size) if crop and size else 1.0
    if fields.get("crop_pct") and size and size < _WARPED_FROM:
        kept *= float(fields["crop_pct"])
    try:
        factor = float(fields.get("rescale_factor") or 1 / 255)
        scale = 255 * factor if fields.get("do_rescale", True) is not False else 255.0
        scale = 1.0 if math.isclose(scale, 1.0) else scale
        mean, std = (0.0,) * len(defaults.mean), (1.0,) * len(defaults.std)
        if fields.get("do_normalize", True):
            mean, std = (_channels(fields.get(name)) for name in ("image_mean", "image_std"))
            mean, std = mean or defaults.mean, std or defaults.std
        return PixelSettings(
            size=crop or size or defaults.size,
            mean=tuple(value / scale for value in mean),
            std=tuple(value / scale for value in std),
            kept=kept,
        )
    except (ValueError, TypeError, ZeroDivisionError) as error:
        raise _damaged(path, error) from error


def _channels(values: Any) -> tuple[float, ...]:
    """One number a channel out of a list, or a number for all."""
    found = (float(values),) if isinstance(values, int | float) else tuple(map(float, values or ()))
    return found * 3 if len(found) == 1 else found


def _try(processor: Any) -> Tensor:
    """What a processor makes of a black, a red, a green, a blue and a grey picture, [5, 3, h, w]."""
    colours = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [_GREY, _GREY, _GREY]])
    pictures = (255 * colours).round().to(torch.uint8)[:, :, None, None].expand(-1, -1, _SIDE, _SIDE)
    seen: Tensor = processor(list(pictures), return_tensors="pt", input_data_format="channels_first")["pixel_values"]
    return seen.float()


def _confirmed(path: str, stated: PixelSettings, seen: Tensor) -> PixelSettings:
    """The stated settings where the processor works by them, else those that it is seen to work by."""
    values = seen.flatten(2).mean(dim=2).double()
    largest = float(values.abs().amax())
    offset, gain = values[0], values[1:4] - values[0]
    slope = gain.diagonal()
    close = _TOLERANCE * max(1.0, largest)
    flat = float((seen.flatten(2).amax(dim=2) - seen.flatten(2).amin(dim=2)).amax()) <= close
    apart = float((gain - slope.diag()).abs().amax()) <= close and bool((slope > 0).all())
    linear = torch.allclose(values[4], offset + slope * _GREY, rtol=_TOLERANCE, atol=close)
    square = seen.shape[-1] == seen.shape[-2]
    if not (flat and apart and linear and square):
        odd = "exchanges colours" if flat and not apart else "pads, or makes no squares, or is not linear"
        raise ConfigurationError(
            f"{path}: the image processor {odd}; expected one that resizes, crops, rescales and normalises; save "
            "another one beside the model"
        )
    mean, std = torch.tensor(stated.mean).double(), torch.tensor(stated.std).double()
    same = torch.allclose(1 / std, slope, rtol=_TOLERANCE) and torch.allclose(-mean / std, offset, atol=close)
    size = stated.size if seen.shape[-1] == _SIDE else seen.shape[-1]  # nothing was cut or resized
    if not same:  # such as EfficientNet's, which normalises twice
        stated = PixelSettings(
            size=size, mean=tuple((-offset / slope).tolist()), std=tuple((1 / slope).tolist()), kept=stated.kept
        )
    return PixelSettings(size=size, mean=stated.mean, std=stated.std, kept=stated.kept)


def _side(size: Any) -> int | None:
    """The side in one of the forms in which image processors state it."""
    if isinstance(size, Mapping):
        size = size.get("height") or size.get("shortest_edge")
    return int(size) if isinstance(size, int | float) and size else None


def _damaged(path: str, why: object) -> CheckpointError:
    reason = (str(why).strip().splitlines() or [type(why).__name__])[0]
    return CheckpointError(f"{path}: {_CONFIG} cannot be used ({reason}); copy it again, or remove it")
