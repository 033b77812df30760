"""Tiles of pictures: images with the boxes of their faces and, below, what the classifier perceives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from fairlit.faces.observation import Observation
from fairlit.pictures.colours import class_colour

Classes = Mapping[str, Sequence[str]]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

TILE, BAR, BAR_GAP, GAP, MARGIN, LINE, SWATCH = 112, 7, 2, 6, 18, 20, 12
"""Pixels: width of a tile, height of a bar, spaces below bars and between tiles, margin, line of text, swatch."""

INK, GREY, FAINT, PAPER = (32, 33, 36), (110, 112, 118), (226, 228, 232), (255, 255, 255)


@dataclass(frozen=True)
class PictureRow:
    """One prompt: the same noise by several variants of the model.

    Attributes:
        prompt: the text.
        images: variant -> [n, 3, H, W] in [0, 1].
        observations: variant -> what was seen in them.
    """

    prompt: str
    images: Mapping[str, Tensor]
    observations: Mapping[str, Observation]

    def reduced(self, count: int) -> PictureRow:
        """Return the first images of every variant, on the CPU and as large as their tiles."""
        images, observations = {}, {}
        for variant, whole in self.images.items():
            size = tile_size(whole)
            shown = [_scaled(image, size) for image in whole[:count]]
            images[variant] = torch.stack(shown) if shown else whole[:0].cpu()
            observations[variant] = _first(self.observations[variant], len(shown), scale=_scale(whole, size))
        return PictureRow(self.prompt, images, observations)


def tile_size(images: Tensor) -> tuple[int, int]:
    """Return width and height of the tiles of images [n, 3, H, W]."""
    return TILE, round(TILE * images.shape[-2] / images.shape[-1])


def draw_tiles(
    picture: Image.Image,
    draw: ImageDraw.ImageDraw,
    images: Tensor,
    *,
    observation: Observation,
    classes: Classes,
    corner: tuple[int, int],
) -> None:
    """Draw images beside each other, the boxes of their faces, and one bar an attribute below each.

    Args:
        picture: picture to draw on.
        draw: its pen.
        images: images [n, 3, H, W] in [0, 1].
        observation: what was seen in them.
        classes: attribute -> class names.
        corner: upper left corner of the first tile.
    """
    tile = tile_size(images)
    index, boxes = observation.faces.image_index.cpu(), observation.faces.boxes.cpu() * _scale(images, tile)
    for number, image in enumerate(images):
        x, y = corner[0] + number * (TILE + GAP), corner[1]
        picture.paste(_picture(image, tile), (x, y))
        for x1, y1, x2, y2 in boxes[index == number].tolist():
            draw.rectangle((x + x1 - 1, y + y1 - 1, x + x2, y + y2), outline=INK)
            draw.rectangle((x + x1, y + y1, x + x2 - 1, y + y2 - 1), outline=PAPER)
        y += tile[1] + BAR_GAP
        faces = (index == number).nonzero()[:, 0]
        faces = faces[boxes[faces, 0].argsort()]
        for row, (attribute, names) in enumerate(classes.items()):
            draw.rectangle((x, y, x + TILE - 1, y + BAR - 1), fill=FAINT)
            certainty, found = observation.probabilities[attribute].cpu()[faces].max(dim=-1)
            for place in range(len(faces)):
                part = TILE // len(faces) - BAR_GAP * (len(faces) > 1)
                start, length = x + place * TILE // len(faces), round(float(certainty[place]) * part)
                if length:
                    colour = class_colour(int(found[place]), len(names), row)
                    draw.rectangle((start, y, start + length - 1, y + BAR - 1), fill=colour)
            y += BAR + BAR_GAP


def shortened(text: str, font: Font, width: int) -> str:
    """The text, cut with an ellipsis to what fits into `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1].rstrip()
    return text + "…"


def _scale(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the factors [4] from a box in images [n, 3, H, W] to one in tiles."""
    return torch.tensor([size[0] / images.shape[-1], size[1] / images.shape[-2]] * 2)


def _picture(image: Tensor, size: tuple[int, int]) -> Image.Image:
    pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def _scaled(image: Tensor, size: tuple[int, int]) -> Tensor:
    return torch.from_numpy(np.asarray(_picture(image, size)).copy()).permute(2, 0, 1) / 255


def _first(observation: Observation, count: int, *, scale: Tensor) -> Observation:
    """What was seen in the first images, in tiles of them."""
    inside = observation.faces.image_index < count
    probabilities = {name: rows[inside].cpu() for name, rows in observation.probabilities.items()}
    faces = observation.faces.images(0, count).to("cpu")
    faces = replace(faces, boxes=faces.boxes * scale, landmarks=faces.landmarks * scale[:2])
    return Observation(faces, probabilities)
