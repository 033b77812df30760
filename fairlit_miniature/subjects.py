"""Whom the drawn-face world shows besides the occupations, and what such a subject is.

Every number is made up: the biases are known exactly and differ between subjects. They are milder than those of the
pictures that a model learned from them generates, since guidance sharpens whatever a prompt makes likelier.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Look:
    """What makes a picture recognisable besides the face.

    Attributes:
        backdrop: name of a painter in `drawing.BACKDROPS`.
        backdrop_colors: its two colours, RGB 0-255.
        clothes: name of a painter in `drawing.CLOTHES`.
        clothes_colors: its two colours.
        headgear: name of a painter in `headgear.HEADGEAR`, or "none".
        headgear_color: its colour.
        prop: name of a painter in `props.PROPS`, of something held before the chest, or "none".
        prop_color: its colour.
    """

    backdrop: str
    backdrop_colors: tuple[Color, Color]
    clothes: str
    clothes_colors: tuple[Color, Color]
    headgear: str = "none"
    headgear_color: Color = (0, 0, 0)
    prop: str = "none"
    prop_color: Color = (0, 0, 0)


@dataclass(frozen=True)
class Bias:
    """Shares with which the world draws people when a caption names no attribute.

    Attributes:
        male: share of male.
        skin_tone: shares of light, tan, brown, dark.
        young: share of young.
    """

    male: float
    skin_tone: tuple[float, float, float, float]
    young: float

    def shares(self, attribute: str) -> tuple[float, ...]:
        """The shares of one attribute in class order; they sum to 1."""
        return {
            "gender": (1.0 - self.male, self.male),
            "skin_tone": self.skin_tone,
            "age": (self.young, 1.0 - self.young),
        }[attribute]


@dataclass(frozen=True)
class Subject:
    """Somebody a prompt can ask for: an occupation, a player of a sport, a kind of person.

    Attributes:
        name: the filler of the prompt template.
        split: the split that the filler belongs to when a model is finetuned.
        bias: how its people are drawn.
        look: how its pictures look.
        plural: used in scenes with several people; "" where there are none.
    """

    name: str
    split: Split
    bias: Bias
    look: Look
    plural: str = ""


LIGHT = (0.58, 0.20, 0.13, 0.09)
TAN = (0.20, 0.50, 0.18, 0.12)
BROWN = (0.14, 0.20, 0.48, 0.18)
DARK = (0.10, 0.14, 0.22, 0.54)
MIXED = (0.30, 0.26, 0.24, 0.20)

WHITE, BLACK, GRAY = (242, 242, 240), (34, 34, 38), (128, 130, 134)
NAVY, BLUE, SKY, TEAL = (36, 50, 96), (58, 104, 186), (140, 196, 232), (46, 140, 140)
RED, PINK, ORANGE, YELLOW = (196, 44, 44), (240, 164, 190), (236, 128, 40), (244, 208, 66)
GREEN, OLIVE, MINT, LIME = (52, 132, 68), (104, 110, 60), (164, 220, 196), (160, 204, 80)
WOOD, TAUPE, VIOLET, MAGENTA = (142, 96, 56), (176, 156, 128), (116, 76, 160), (204, 64, 144)
CREAM, WINE = (244, 230, 196), (116, 28, 52)


def job(
    name: str,
    plural: str,
    split: Split,
    bias: tuple[float, tuple[float, float, float, float], float],
    backdrop: tuple[str, Color, Color],
    clothes: tuple[str, Color, Color],
    headgear: tuple[str, Color] = ("none", BLACK),
) -> Subject:
    """One entry of the tables: name, plural, split, bias, backdrop, clothes and headgear (painter, then colours)."""
    look = Look(backdrop[0], backdrop[1:], clothes[0], clothes[1:], *headgear)
    return Subject(name, split, Bias(*bias), look, plural)


SPORTS: tuple[Subject, ...] = (
    job("soccer", "", "train", (0.71, BROWN, 0.78), ("field", SKY, GREEN), ("jersey", RED, WHITE)),
    job(
        "tennis",
        "",
        "train",
        (0.38, LIGHT, 0.71),
        ("court", (190, 100, 60), WHITE),
        ("jersey", WHITE, LIME),
        ("headband", LIME),
    ),
    job("golf", "", "train", (0.68, LIGHT, 0.29), ("field", SKY, LIME), ("jersey", SKY, NAVY), ("cap", WHITE)),
    job("basketball", "", "train", (0.74, DARK, 0.78), ("court", ORANGE, BLACK), ("jersey", VIOLET, YELLOW)),
    job("volleyball", "", "val", (0.27, TAN, 0.79), ("court", SKY, YELLOW), ("jersey", YELLOW, BLUE)),
    job("baseball", "", "test", (0.76, MIXED, 0.68), ("court", GREEN, TAUPE), ("jersey", NAVY, WHITE), ("cap", NAVY)),
)

DESCRIPTORS: tuple[Subject, ...] = (
    job("happy", "", "train", (0.38, MIXED, 0.74), ("plain", YELLOW, CREAM), ("sweater", ORANGE, YELLOW)),
    job("angry", "", "train", (0.73, DARK, 0.50), ("plain", RED, WINE), ("sweater", BLACK, RED)),
    job("rich", "", "train", (0.74, LIGHT, 0.26), ("curtain", YELLOW, WOOD), ("suit", NAVY, YELLOW)),
    job("smart", "", "train", (0.62, TAN, 0.43), ("shelves", NAVY, CREAM), ("sweater", TEAL, WHITE)),
    job("sad", "", "val", (0.29, BROWN, 0.43), ("plain", NAVY, BLUE), ("sweater", GRAY, BLUE)),
    job("friendly", "", "test", (0.26, TAN, 0.57), ("plain", MINT, LIME), ("sweater", PINK, WHITE)),
)
