"""Pictures of generated people: the same noise before and after, with what the classifier perceives."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from fairlit.faces.observation import Observation
from fairlit.pictures.colours import class_colour
from fairlit.pictures.tiles import (
    BAR,
    BAR_GAP,
    FAINT,
    GAP,
    GREY,
    INK,
    LINE,
    MARGIN,
    PAPER,
    SWATCH,
    TILE,
    Classes,
    Font,
    PictureRow,
    draw_tiles,
    shortened,
    tile_size,
)

_HEADING, _BETWEEN = 34, 30  # height of the headings; space between variants
_NOTE = (
    "Below an image: the perceived class (colour) and the classifier's confidence (length); empty: no face found.",
    "Below a row: shares of the classes. Attributes are perceived, and classifiers err.",
)


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
    tile = tile_size(next(iter(rows[0].images.values())))
    block = max(count * (TILE + GAP) - GAP, *(round(bold.getlength(title)) for title in titles.values()))
    lefts = {variant: MARGIN + index * (block + _BETWEEN) for index, variant in enumerate(titles)}
    bars = len(classes) * (BAR + BAR_GAP)
    row_height = LINE + tile[1] + 2 * bars + 3 * GAP
    legend_width = max(_legend_width(classes, font), *(round(font.getlength(line)) for line in _NOTE))
    width = max(max(lefts.values()) + block, MARGIN + legend_width) + MARGIN
    height = 2 * MARGIN + _HEADING + len(rows) * row_height + (len(classes) + len(_NOTE)) * LINE
    picture = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(picture)
    for variant, title in titles.items():
        draw.text((lefts[variant], MARGIN - 4), title, INK, bold)
        draw.line((lefts[variant], MARGIN + 20, lefts[variant] + block - 1, MARGIN + 20), FAINT)
    top = MARGIN + _HEADING
    for row in rows:
        draw.text((MARGIN, top - 5), shortened(row.prompt, font, width - 2 * MARGIN), INK, font)
        for variant, left in lefts.items():
            images, observation = row.images[variant], row.observations[variant]
            draw_tiles(picture, draw, images, observation=observation, classes=classes, corner=(left, top + LINE))
            strip = len(images) * (TILE + GAP) - GAP
            _draw_shares(draw, observation, classes, corner=(left, top + LINE + tile[1] + bars + GAP), width=strip)
        top += row_height
    _draw_legend(draw, classes, top, font=font)
    return picture


def picture_tensor(picture: Image.Image) -> Tensor:
    """The picture as uint8 [3, H, W], for TensorBoard."""
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)


def _draw_shares(
    draw: ImageDraw.ImageDraw, observation: Observation, classes: Classes, *, corner: tuple[int, int], width: int
) -> None:
    x, y = corner
    for row, (attribute, names) in enumerate(classes.items()):
        found = observation.probabilities[attribute].argmax(dim=-1)
        counts = torch.bincount(found, minlength=len(names)).tolist()
        edges = [round(width * part / max(sum(counts), 1)) for part in np.cumsum([0, *counts])]
        draw.rectangle((x, y, x + width - 1, y + BAR - 1), fill=FAINT)
        for index, (start, stop) in enumerate(itertools.pairwise(edges)):
            if stop > start:
                draw.rectangle((x + start, y, x + stop - 1, y + BAR - 1), fill=class_colour(index, len(names), row))
        y += BAR + BAR_GAP


def _draw_legend(draw: ImageDraw.ImageDraw, classes: Classes, top: int, *, font: Font) -> None:
    column = _legend_column(classes, font)
    for row, (attribute, names) in enumerate(classes.items()):
        x, y = MARGIN, top + row * LINE
        draw.text((x, y), _legend_heading(attribute), INK, font)
        x += column
        for index, name in enumerate(names):
            draw.rectangle((x, y + 3, x + SWATCH - 1, y + 2 + SWATCH), fill=class_colour(index, len(names), row))
            draw.text((x + SWATCH + 5, y), name, INK, font)
            x += _legend_entry(name, font)
    for line, note in enumerate(_NOTE):
        draw.text((MARGIN, top + (len(classes) + line) * LINE), note, GREY, font)


def _legend_heading(attribute: str) -> str:
    return f"perceived {attribute.replace('_', ' ')}"


def _legend_column(classes: Classes, font: Font) -> int:
    """Where the classes begin, to the right of the longest attribute."""
    return 16 + max(round(font.getlength(_legend_heading(attribute))) for attribute in classes)


def _legend_entry(name: str, font: Font) -> int:
    return SWATCH + 19 + round(font.getlength(name))


def _legend_width(classes: Classes, font: Font) -> int:
    longest = max(sum(_legend_entry(name, font) for name in names) for names in classes.values())
    return _legend_column(classes, font) + longest
