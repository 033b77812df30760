"""Pictures of generated people: the same noise before and after, with what the classifier perceives."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from fairlit.training.observation import Observation

_TILE, _BAR, _GAP, _MARGIN, _LINE = 112, 7, 6, 14, 20
_INK, _FAINT, _PAPER = (32, 33, 36), (222, 224, 228), (255, 255, 255)


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


def comparison_picture(
    rows: Sequence[PictureRow], classes: Mapping[str, Sequence[str]], titles: Mapping[str, str]
) -> Image.Image:
    """Draws prompts below each other and variants side by side.

    Under each image stands one bar for each attribute: its colour says the perceived class, its length the classifier's
    confidence; an empty bar: no face was found. The face box is drawn into the image.

    Args:
        rows: prompts; all with the same variants and number of images.
        classes: attribute -> class names, for colours and legend.
        titles: variant -> heading, in the order from left to right.

    Returns:
        An RGB picture.
    """
    count = max(len(images) for row in rows for images in row.images.values())
    cell_height = _TILE + len(classes) * (_BAR + 2) + _GAP
    block = count * (_TILE + _GAP)
    width = 2 * _MARGIN + len(titles) * block + (len(titles) - 1) * _MARGIN
    height = 2 * _MARGIN + 2 * _LINE + len(rows) * (_LINE + cell_height + _GAP) + (len(classes) + 1) * _LINE
    picture = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(picture)
    font, bold = ImageFont.load_default(13), ImageFont.load_default(16)
    lefts = {variant: _MARGIN + index * (block + _MARGIN) for index, variant in enumerate(titles)}
    for variant, title in titles.items():
        draw.text((lefts[variant], _MARGIN), title, _INK, bold)
    top = _MARGIN + 2 * _LINE - 8
    for row in rows:
        draw.text((_MARGIN, top), _shortened(row.prompt, font, width - 2 * _MARGIN), _INK, font)
        top += _LINE
        for variant, left in lefts.items():
            _draw_images(picture, draw, row.images[variant], row.observations[variant], classes, left, top)
        top += cell_height + _GAP
    _draw_legend(draw, classes, top, font)
    return picture


def picture_tensor(picture: Image.Image) -> Tensor:
    """The picture as uint8 [3, H, W], for TensorBoard."""
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)


def class_colour(index: int, count: int, attribute: int) -> tuple[int, int, int]:
    """A colour for class `index` of `count`; attributes start at different hues."""
    hue = (0.09 + 0.31 * attribute + index / count * 0.8) % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.72, 0.82)
    return round(red * 255), round(green * 255), round(blue * 255)


def _draw_images(
    picture: Image.Image,
    draw: ImageDraw.ImageDraw,
    images: Tensor,
    observation: Observation,
    classes: Mapping[str, Sequence[str]],
    left: int,
    top: int,
) -> None:
    scale = _TILE / images.shape[-1]
    predictions, certainty, boxes = observation.predictions, observation.certainty, observation.boxes
    for number, image in enumerate(images):
        x = left + number * (_TILE + _GAP)
        pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        picture.paste(Image.fromarray(pixels).resize((_TILE, _TILE), Image.Resampling.BICUBIC), (x, top))
        if observation.has_face[number]:
            x1, y1, x2, y2 = (boxes[number] * scale).tolist()
            draw.rectangle((x + x1, top + y1, x + x2, top + y2), outline=_PAPER, width=1)
        for row, (attribute, names) in enumerate(classes.items()):
            y = top + _TILE + 2 + row * (_BAR + 2)
            draw.rectangle((x, y, x + _TILE - 1, y + _BAR - 1), fill=_FAINT)
            found = int(predictions[attribute][number])
            if found >= 0:
                length = round(float(certainty[attribute][number]) * (_TILE - 1))
                draw.rectangle((x, y, x + length, y + _BAR - 1), fill=class_colour(found, len(names), row))


def _draw_legend(
    draw: ImageDraw.ImageDraw,
    classes: Mapping[str, Sequence[str]],
    top: int,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    for row, (attribute, names) in enumerate(classes.items()):
        x, y = _MARGIN, top + row * _LINE
        draw.text((x, y), f"perceived {attribute}:", _INK, font)
        x += 150
        for index, name in enumerate(names):
            draw.rectangle((x, y + 3, x + 11, y + 14), fill=class_colour(index, len(names), row))
            draw.text((x + 16, y), name, _INK, font)
            x += 28 + round(draw.textlength(name, font))
    note = "Bars: the classifier's confidence. Attributes are perceived, and classifiers err."
    draw.text((_MARGIN, top + len(classes) * _LINE), note, (110, 112, 118), font)


def _shortened(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    while text and font.getlength(text) > width:
        text = text[:-2].rstrip() + "…" if not text.endswith("…") else text[:-3].rstrip() + "…"
    return text
