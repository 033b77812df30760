"""Image files: PNGs that say how they were made, and pictures from anywhere read without trust."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from fairlit.errors import FairlitError, NotFiniteError
from fairlit.io.atomic import atomic_path
from fairlit.io.foreign_text import parsed

PARAMETERS = "fairlit"
"""Keyword of the PNG text chunk that holds an image's parameters as JSON."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
"""Endings of files that are taken for images, in lower case."""


class UnreadableImageError(FairlitError):
    """A file that is no image, or a damaged one; the message is the reason, without the file's name."""


def save_png(image: Tensor, path: str | Path, parameters: Mapping[str, Any], icc_profile: bytes | None = None) -> None:
    """Writes an image atomically, with its parameters in text chunks.

    The chunk `fairlit` holds all of them as JSON, the standard keywords ``Description`` the prompt and ``Software`` the
    program, which common tools show.

    Args:
        image: float [3, H, W], RGB in [0, 1]; values outside are clamped.
        path: where to.
        parameters: plain data.
        icc_profile: what the numbers mean as colours, see `read_profile`; None: nothing is said, and it is sRGB.

    Raises:
        NotFiniteError: the image has NaN or infinity in it, which would become black and white.
    """
    if not bool(image.isfinite().all()):
        raise NotFiniteError(f"{path}: got an image with NaN or infinity; expected finite numbers; look at its model")
    pixels = (image.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    texts = PngImagePlugin.PngInfo()
    if "prompt" in parameters:
        texts.add_itxt("Description", str(parameters["prompt"]))
    texts.add_itxt("Software", f"fairlit {parameters.get('version', '')}".strip())
    texts.add_itxt(PARAMETERS, json.dumps(parameters, ensure_ascii=False))
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, pnginfo=texts, icc_profile=icc_profile)


def read_profile(path: str | Path) -> bytes | None:
    """The colour profile of an image file; None where it has none, or is no image."""
    try:
        with Image.open(path) as image:
            profile = image.info.get("icc_profile")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    return profile if isinstance(profile, bytes) else None


def is_torn_png(path: str | Path) -> bool:
    """Return whether a file is part of a PNG: empty, cut short, or with bytes that its checksums do not fit.

    Decodes no pixels. A file of any other kind is no part of a PNG.
    """
    try:
        with Image.open(path, formats=("PNG",)) as image:
            image.verify()
    except Image.DecompressionBombError:  # too large to be trusted, which says nothing of its end
        return False
    except (OSError, SyntaxError, ValueError, IndexError):
        with Path(path).open("rb") as stream:
            return _PNG_SIGNATURE.startswith(stream.read(len(_PNG_SIGNATURE)))
    return False


def read_parameters(path: str | Path) -> dict[str, Any] | None:
    """What `save_png` has written beside the pixels; None for a file without it, or one that is no PNG.

    Reads no pixels, so it is quick.
    """
    try:
        with Image.open(path) as image:
            parameters = parsed(image.info.get(PARAMETERS, "null"))
    except (OSError, SyntaxError, ValueError, TypeError, Image.DecompressionBombError):
        return None
    return parameters if isinstance(parameters, dict) else None


def read_image(path: str | Path) -> Tensor:
    """Reads a picture of any common format.

    Transparent pixels are laid over white. Pictures that say how the camera was held are turned upright. Greys of
    16 bits are scaled to 8.

    Returns:
        uint8 [3, H, W], RGB.

    Raises:
        UnreadableImageError: the file is missing, is no image, or ends too early.
    """
    try:
        with Image.open(path) as opened:
            ImageOps.exif_transpose(opened, in_place=True)
            if opened.mode.startswith("I;16"):
                # Pillow clips 16-bit greys at 255 in `convert`, which leaves them white
                grey = np.rint(np.array(opened).astype(np.float64) / 257).astype(np.uint8)
                pixels = np.stack([grey] * 3, axis=-1)
            elif opened.mode in ("RGBA", "LA", "PA") or "transparency" in opened.info:
                layer = opened.convert("RGBA")
                pixels = np.array(Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB"))
            else:
                pixels = np.array(opened.convert("RGB"))
    except FileNotFoundError as error:
        raise UnreadableImageError("missing") from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError("not an image") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise UnreadableImageError(f"damaged ({error})") from error
    return torch.from_numpy(pixels).permute(2, 0, 1)
