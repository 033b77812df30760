"""The picture of one prompt: images of the unchanged model above those of another from the same noise, and shares."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image, ImageDraw, ImageFont

from fairlit.io.wording import counted
from fairlit.pictures.colours import class_colour
from fairlit.pictures.tiles import (
    BAR,
    BAR_GAP,
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
from fairlit.results.figures import PromptFigures

_BETWEEN, _HEADING = 16, 32  # pixels between the variants, and of the prompt
_NOTE = (
    "Images below each other start from the same noise. Bar: perceived class, and the classifier's confidence.",
    "Shares are of all images of the prompt. Attributes are perceived, and classifiers err.",
)


def prompt_picture(
    row: PictureRow, classes: Classes, titles: Mapping[str, str], figures: Mapping[str, PromptFigures]
) -> Image.Image:
    """Draw the images of one prompt, a row a variant of the model, each with the shares that are perceived.

    Args:
        row: the first images of the prompt.
        classes: attribute -> class names, for colours and shares.
        titles: variant -> heading, in the order from above.
        figures: variant -> figures of all images of the prompt.

    Returns:
        An RGB picture.
    """
    font, bold = ImageFont.load_default(13), ImageFont.load_default(17)
    texts = {variant: _share_lines(classes, figures[variant]) for variant in titles}
    counts = {variant: _counted(figures[variant]) for variant in titles}
    lines = [text for own in texts.values() for text, _ in own]
    widest = max(
        [bold.getlength(title) for title in titles.values()]
        + [font.getlength(text) for text in counts.values()]
        + [SWATCH + 6 + font.getlength(text) for text in lines]
    )
    left = MARGIN + round(widest) + _BETWEEN
    images = {variant: row.images[variant] for variant in titles}
    count = max(map(len, images.values()))
    bars = len(classes) * (BAR + BAR_GAP) + BAR_GAP
    tiles = max(tile_size(own)[1] for own in images.values()) + bars
    block = max(tiles, (2 + max(map(len, texts.values()))) * LINE) + _BETWEEN
    across = left + count * (TILE + GAP) - GAP
    width = max(across, MARGIN + round(max(font.getlength(note) for note in _NOTE))) + MARGIN
    picture = Image.new("RGB", (width, 2 * MARGIN + _HEADING + len(titles) * block + len(_NOTE) * LINE), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, MARGIN - 4), shortened(row.prompt, bold, width - 2 * MARGIN), INK, bold)
    top = MARGIN + _HEADING
    for variant, title in titles.items():
        draw.text((MARGIN, top - 4), title, INK, bold)
        draw.text((MARGIN, top + LINE - 2), counts[variant], GREY, font)
        for place, (text, colour) in enumerate(texts[variant], 2):
            _draw_share(draw, text, colour, (MARGIN, top + place * LINE), font=font)
        draw_tiles(
            picture,
            draw,
            images[variant],
            observation=row.observations[variant],
            classes=classes,
            corner=(left, top),
        )
        top += block
    for line, note in enumerate(_NOTE):
        draw.text((MARGIN, top + line * LINE), note, GREY, font)
    return picture


def _counted(figures: PromptFigures) -> str:
    return f"{counted(figures.faces, 'face')} in {counted(figures.images, 'image')}"


def _share_lines(classes: Classes, figures: PromptFigures) -> list[tuple[str, tuple[int, int, int]]]:
    """The share of every class as text, with its colour."""
    lines = []
    for row, (attribute, names) in enumerate(classes.items()):
        for index, name in enumerate(names):
            share = figures.attributes[attribute].frequencies[name].value
            shown = f"{100 * share:.0f} %" if share == share else "-"
            lines.append((f"{name.replace('_', ' ')} {shown}", class_colour(index, len(names), row)))
    return lines


def _draw_share(
    draw: ImageDraw.ImageDraw, text: str, colour: tuple[int, int, int], corner: tuple[int, int], *, font: Font
) -> None:
    x, y = corner
    draw.rectangle((x, y + 2, x + SWATCH - 1, y + 1 + SWATCH), fill=colour)
    draw.text((x + SWATCH + 6, y - 1), text, INK, font)
