"""Pictures of generated people: the same noise before and after, with what the classifier perceives."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from fairlit.faces.observation import Observation
from fairlit.pictures.colours import class_colour

Classes = Mapping[str, Sequence[str]]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_TILE, _BAR, _BAR_GAP, _GAP, _MARGIN, _LINE = 112, 7, 2, 6, 18, 20
_HEADING, _SWATCH, _BETWEEN = 34, 12, 30  # height of the headings; legend squares; space between variants
_INK, _GREY, _FAINT, _PAPER = (32, 33, 36), (110, 112, 118), (226, 228, 232), (255, 255, 255)
_NOTE = (
    "Below an image: the perceived class (colour) and the classifier's confidence (length); empty: no face found.",
    "Below a row: shares of the classes. Attributes are perceived, and classifiers err.",
)


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


def comparison_picture(rows: Sequence[PictureRow], classes: Classes, titles: Mapping[str, str]) -> Image.Image:
    """Draws prompts below each other and variants side by side.

    Under each image stands one bar for each attribute: its colour says the perceived class, its length the classifier's
    confidence; an empty bar: no face was found. Of several faces each has its part of the bar, from left to right. The
    face box is drawn into the image. A strip under all images of a
    prompt and variant shows for each attribute how large a share of the faces each class has.

    Args:
        rows: prompts; all with the variants in `titles`.
        classes: attribute -> class names, for colours and legend.
        titles: variant -> heading, in the order from left to right.

    Returns:
        An RGB picture.
    """
    font, bold = ImageFont.load_default(13), ImageFont.load_default(17)
    count = max(len(row.images[variant]) for row in rows for variant in titles)
    shape = next(iter(rows[0].images.values())).shape
    tile = (_TILE, round(_TILE * shape[-2] / shape[-1]))
    block = max(count * (_TILE + _GAP) - _GAP, *(round(bold.getlength(title)) for title in titles.values()))
    lefts = {variant: _MARGIN + index * (block + _BETWEEN) for index, variant in enumerate(titles)}
    bars = len(classes) * (_BAR + _BAR_GAP)
    row_height = _LINE + tile[1] + 2 * bars + 3 * _GAP
    legend_width = max(_legend_width(classes, font), *(round(font.getlength(line)) for line in _NOTE))
    width = max(max(lefts.values()) + block, _MARGIN + legend_width) + _MARGIN
    height = 2 * _MARGIN + _HEADING + len(rows) * row_height + (len(classes) + len(_NOTE)) * _LINE
    picture = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(picture)
    for variant, title in titles.items():
        draw.text((lefts[variant], _MARGIN - 4), title, _INK, bold)
        draw.line((lefts[variant], _MARGIN + 20, lefts[variant] + block - 1, _MARGIN + 20), _FAINT)
    top = _MARGIN + _HEADING
    for row in rows:
        draw.text((_MARGIN, top - 5), _shortened(row.prompt, font, width - 2 * _MARGIN), _INK, font)
        for variant, left in lefts.items():
            images, observation = row.images[variant], row.observations[variant]
            _draw_images(
                picture, draw, images, observation=observation, classes=classes, corner=(left, top + _LINE), tile=tile
            )
            strip = len(images) * (_TILE + _GAP) - _GAP
            _draw_shares(draw, observation, classes, corner=(left, top + _LINE + tile[1] + bars + _GAP), width=strip)
        top += row_height
    _draw_legend(draw, classes, top, font=font)
    return picture


def picture_tensor(picture: Image.Image) -> Tensor:
    """The picture as uint8 [3, H, W], for TensorBoard."""
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)


def _draw_images(
    picture: Image.Image,
    draw: ImageDraw.ImageDraw,
    images: Tensor,
    *,
    observation: Observation,
    classes: Classes,
    corner: tuple[int, int],
    tile: tuple[int, int],
) -> None:
    scale = torch.tensor([tile[0] / images.shape[-1], tile[1] / images.shape[-2]] * 2)
    index, boxes = observation.faces.image_index.cpu(), observation.faces.boxes.cpu() * scale
    for number, image in enumerate(images):
        x, y = corner[0] + number * (_TILE + _GAP), corner[1]
        pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        picture.paste(Image.fromarray(pixels).resize(tile, Image.Resampling.BICUBIC), (x, y))
        for x1, y1, x2, y2 in boxes[index == number].tolist():
            draw.rectangle((x + x1 - 1, y + y1 - 1, x + x2, y + y2), outline=_INK)
            draw.rectangle((x + x1, y + y1, x + x2 - 1, y + y2 - 1), outline=_PAPER)
        y += tile[1] + _BAR_GAP
        faces = (index == number).nonzero()[:, 0]
        faces = faces[boxes[faces, 0].argsort()]
        for row, (attribute, names) in enumerate(classes.items()):
            draw.rectangle((x, y, x + _TILE - 1, y + _BAR - 1), fill=_FAINT)
            certainty, found = observation.probabilities[attribute].cpu()[faces].max(dim=-1)
            for place in range(len(faces)):
                part = _TILE // len(faces) - _BAR_GAP * (len(faces) > 1)
                start, length = x + place * _TILE // len(faces), round(float(certainty[place]) * part)
                if length:
                    colour = class_colour(int(found[place]), len(names), row)
                    draw.rectangle((start, y, start + length - 1, y + _BAR - 1), fill=colour)
            y += _BAR + _BAR_GAP


def _draw_shares(
    draw: ImageDraw.ImageDraw, observation: Observation, classes: Classes, *, corner: tuple[int, int], width: int
) -> None:
    x, y = corner
    for row, (attribute, names) in enumerate(classes.items()):
        found = observation.probabilities[attribute].argmax(dim=-1)
        counts = torch.bincount(found, minlength=len(names)).tolist()
        edges = [round(width * part / max(sum(counts), 1)) for part in np.cumsum([0, *counts])]
        draw.rectangle((x, y, x + width - 1, y + _BAR - 1), fill=_FAINT)
        for index, (start, stop) in enumerate(itertools.pairwise(edges)):
            if stop > start:
                draw.rectangle((x + start, y, x + stop - 1, y + _BAR - 1), fill=class_colour(index, len(names), row))
        y += _BAR + _BAR_GAP


def _draw_legend(draw: ImageDraw.ImageDraw, classes: Classes, top: int, *, font: Font) -> None:
    column = _legend_column(classes, font)
    for row, (attribute, names) in enumerate(classes.items()):
        x, y = _MARGIN, top + row * _LINE
        draw.text((x, y), _legend_heading(attribute), _INK, font)
        x += column
        for index, name in enumerate(names):
            draw.rectangle((x, y + 3, x + _SWATCH - 1, y + 2 + _SWATCH), fill=class_colour(index, len(names), row))
            draw.text((x + _SWATCH + 5, y), name, _INK, font)
            x += _legend_entry(name, font)
    for line, note in enumerate(_NOTE):
        draw.text((_MARGIN, top + (len(classes) + line) * _LINE), note, _GREY, font)


def _legend_heading(attribute: str) -> str:
    return f"perceived {attribute.replace('_', ' ')}"


def _legend_column(classes: Classes, font: Font) -> int:
    """Where the classes begin, to the right of the longest attribute."""
    return 16 + max(round(font.getlength(_legend_heading(attribute))) for attribute in classes)


def _legend_entry(name: str, font: Font) -> int:
    return _SWATCH + 19 + round(font.getlength(name))


def _legend_width(classes: Classes, font: Font) -> int:
    longest = max(sum(_legend_entry(name, font) for name in names) for names in classes.values())
    return _legend_column(classes, font) + longest


def _shortened(text: str, font: Font, width: int) -> str:
    """The text, cut with an ellipsis to what fits into `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1].rstrip()
    return text + "…"
