"""Image files: PNGs that say how they were made, and pictures from anywhere read without trust."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from fairlit.errors import FairlitError, NotFiniteError
from fairlit.io.atomic import atomic_path
from fairlit.io.file_status import why_not_regular
from fairlit.io.foreign_text import parsed

PARAMETERS = "fairlit"
"""Keyword of the PNG text chunk that holds an image's parameters as JSON."""

_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, RuntimeError)  # the last from AVIF (Pillow 13.0.0)
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff")
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
    except (*_DAMAGED, Image.DecompressionBombError):
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
    except (*_DAMAGED, TypeError, Image.DecompressionBombError):
        return None
    return parameters if isinstance(parameters, dict) else None


def read_image(path: str | Path) -> Tensor:
    """Read a picture of any common format.

    Transparent pixels are laid over white. Pictures that say how the camera was held are turned upright. Greys of
    16 bits are scaled to 8. Of an animation it is the first frame.

    Returns:
        uint8 [3, H, W], RGB.

    Raises:
        UnreadableImageError: the file is missing, is not an image, ends too early, has more pixels than Pillow takes
            for sound, or numbers whose range the file does not tell.
    """
    if reason := why_not_regular(Path(path)):
        raise UnreadableImageError(reason)
    try:
        with (
            warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning),
            Image.open(path) as opened,
        ):
            ImageOps.exif_transpose(opened, in_place=True)
            pixels = _rgb(opened)
    except FileNotFoundError as error:
        raise UnreadableImageError("missing") from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError("not an image") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UnreadableImageError("too large, of more than 89 megapixels") from error
    except _DAMAGED as error:
        raise UnreadableImageError(f"damaged ({error})") from error
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Pixels [H, W, 3] of an opened picture."""
    if image.mode.startswith("I;16"):
        # Pillow 13.0.0 clips 16-bit greys at 255 in `convert`, which leaves them white
        grey = np.rint(np.array(image).astype(np.float64) / 257).astype(np.uint8)
        return np.stack([grey] * 3, axis=-1)
    if image.mode in ("I", "F"):
        # Pillow 13.0.0 clips these at 0 and 255 too, and no format tells their range
        numbers = np.asarray(image)
        low, high = float(numbers.min()), float(numbers.max())
        if not (low >= 0 and high <= 255) or (image.mode == "F" and high <= 1):
            raise UnreadableImageError(
                f"numbers of 32 bits from {low:g} to {high:g} instead of 0 to 255: save it with 8 or 16 bits"
            )
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        return np.array(Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB"))
    return np.array(image.convert("RGB"))
