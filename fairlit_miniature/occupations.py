"""The occupations of the drawn-face world, one a row of `occupations.csv`; every number in it is made up.

A cell of a look is "painter: color color", a shorter one "painter: color", an empty one nothing. A color is a name of
`PALETTE` or "#rrggbb".
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from importlib import resources

from fairlit_miniature import subjects
from fairlit_miniature.subjects import SPLITS, Bias, Color, Look, Subject

PALETTE: dict[str, Color] = {
    "black": subjects.BLACK,
    "blue": subjects.BLUE,
    "cream": subjects.CREAM,
    "gray": subjects.GRAY,
    "green": subjects.GREEN,
    "lime": subjects.LIME,
    "magenta": subjects.MAGENTA,
    "mint": subjects.MINT,
    "navy": subjects.NAVY,
    "olive": subjects.OLIVE,
    "orange": subjects.ORANGE,
    "pink": subjects.PINK,
    "red": subjects.RED,
    "sky": subjects.SKY,
    "taupe": subjects.TAUPE,
    "teal": subjects.TEAL,
    "violet": subjects.VIOLET,
    "white": subjects.WHITE,
    "wine": subjects.WINE,
    "wood": subjects.WOOD,
    "yellow": subjects.YELLOW,
}
SKIN_TONES = {
    "light": subjects.LIGHT,
    "tan": subjects.TAN,
    "brown": subjects.BROWN,
    "dark": subjects.DARK,
    "mixed": subjects.MIXED,
}


def _color(text: str) -> Color:
    if not text.startswith("#"):
        return PALETTE[text]
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue


def _painter(cell: str) -> tuple[str, tuple[Color, ...]]:
    name, _, colors = cell.partition(":")
    return name.strip(), tuple(_color(color) for color in colors.split())


def _two_colors(cell: str) -> tuple[str, tuple[Color, Color]]:
    name, (first, second) = _painter(cell)
    return name, (first, second)


def _one_color(cell: str) -> tuple[str, Color]:
    if not cell:
        return "none", (0, 0, 0)
    name, (color,) = _painter(cell)
    return name, color


def _subject(row: Mapping[str, str]) -> Subject:
    look = Look(
        *_two_colors(row["backdrop"]),
        *_two_colors(row["clothes"]),
        *_one_color(row["headgear"]),
        *_one_color(row["prop"]),
    )
    bias = Bias(float(row["male"]), SKIN_TONES[row["skin_tone"]], float(row["young"]))
    return Subject(row["name"], next(split for split in SPLITS if split == row["split"]), bias, look, row["plural"])


def _read_occupations() -> tuple[Subject, ...]:
    text = (resources.files("fairlit_miniature") / "occupations.csv").read_text(encoding="utf-8")
    return tuple(_subject(row) for row in csv.DictReader(text.splitlines()))


OCCUPATIONS = _read_occupations()
