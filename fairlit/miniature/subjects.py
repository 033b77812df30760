"""The subjects of the drawn-face world: occupations, players of sports, kinds of people, with biases and looks.

Every number is made up: the biases are strong, known exactly, and differ between subjects.
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
        backdrop: name of a painter in `backdrops.BACKDROPS`.
        backdrop_colors: its two colours, RGB 0-255.
        clothes: name of a painter in `wardrobe.CLOTHES`.
        clothes_colors: its two colours.
        headgear: name of a painter in `wardrobe.HEADGEAR`, or "none".
        headgear_color: its colour.
    """

    backdrop: str
    backdrop_colors: tuple[Color, Color]
    clothes: str
    clothes_colors: tuple[Color, Color]
    headgear: str = "none"
    headgear_color: Color = (0, 0, 0)


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


LIGHT = (0.72, 0.14, 0.09, 0.05)
TAN = (0.18, 0.58, 0.16, 0.08)
BROWN = (0.10, 0.18, 0.58, 0.14)
DARK = (0.06, 0.10, 0.20, 0.64)
MIXED = (0.40, 0.25, 0.20, 0.15)

WHITE, BLACK, GRAY = (242, 242, 240), (34, 34, 38), (128, 130, 134)
NAVY, BLUE, SKY, TEAL = (36, 50, 96), (58, 104, 186), (140, 196, 232), (46, 140, 140)
RED, PINK, ORANGE, YELLOW = (196, 44, 44), (240, 164, 190), (236, 128, 40), (244, 208, 66)
GREEN, OLIVE, MINT, LIME = (52, 132, 68), (104, 110, 60), (164, 220, 196), (160, 204, 80)
WOOD, TAUPE, VIOLET, MAGENTA = (142, 96, 56), (176, 156, 128), (116, 76, 160), (204, 64, 144)
CREAM, WINE = (244, 230, 196), (116, 28, 52)


def _job(
    name: str,
    plural: str,
    split: Split,
    bias: tuple[float, tuple[float, float, float, float], float],
    backdrop: tuple[str, Color, Color],
    clothes: tuple[str, Color, Color],
    headgear: tuple[str, Color] = ("none", BLACK),
) -> Subject:
    look = Look(backdrop[0], backdrop[1:], clothes[0], clothes[1:], *headgear)
    return Subject(name, split, Bias(*bias), look, plural)


OCCUPATIONS: tuple[Subject, ...] = (
    _job("doctor", "doctors", "train", (0.75, LIGHT, 0.45), ("tiles", SKY, WHITE), ("coat", WHITE, TEAL)),
    _job(
        "nurse",
        "nurses",
        "train",
        (0.05, TAN, 0.75),
        ("plain", PINK, WHITE),
        ("scrubs", SKY, BLUE),
        ("nurse cap", WHITE),
    ),
    _job(
        "firefighter",
        "firefighters",
        "train",
        (0.95, LIGHT, 0.85),
        ("flames", ORANGE, YELLOW),
        ("turnout", BLACK, YELLOW),
        ("fire helmet", RED),
    ),
    _job(
        "chef", "chefs", "train", (0.80, TAN, 0.60), ("tiles", YELLOW, CREAM), ("jacket", WHITE, GRAY), ("toque", WHITE)
    ),
    _job(
        "police officer",
        "police officers",
        "train",
        (0.88, MIXED, 0.70),
        ("lights", NAVY, RED),
        ("uniform", NAVY, YELLOW),
        ("peaked cap", NAVY),
    ),
    _job(
        "farmer",
        "farmers",
        "train",
        (0.85, BROWN, 0.25),
        ("field", SKY, LIME),
        ("overalls", RED, BLUE),
        ("straw hat", YELLOW),
    ),
    _job("teacher", "teachers", "train", (0.20, LIGHT, 0.50), ("chalkboard", GREEN, WHITE), ("cardigan", WOOD, CREAM)),
    _job("judge", "judges", "train", (0.70, LIGHT, 0.10), ("planks", WOOD, BLACK), ("robe", BLACK, WHITE)),
    _job(
        "pilot",
        "pilots",
        "train",
        (0.92, LIGHT, 0.55),
        ("sky", SKY, WHITE),
        ("uniform", WHITE, BLACK),
        ("peaked cap", BLACK),
    ),
    _job(
        "astronaut", "astronauts", "train", (0.65, MIXED, 0.60), ("stars", BLACK, WHITE), ("space suit", WHITE, ORANGE)
    ),
    _job(
        "construction worker",
        "construction workers",
        "train",
        (0.96, BROWN, 0.70),
        ("bricks", (170, 88, 66), CREAM),
        ("safety vest", ORANGE, LIME),
        ("hard hat", YELLOW),
    ),
    _job("librarian", "librarians", "train", (0.10, LIGHT, 0.20), ("shelves", WOOD, CREAM), ("cardigan", OLIVE, WHITE)),
    _job("secretary", "secretaries", "train", (0.04, TAN, 0.55), ("blinds", CREAM, GRAY), ("blouse", VIOLET, WHITE)),
    _job(
        "dancer",
        "dancers",
        "train",
        (0.08, BROWN, 0.95),
        ("spotlights", VIOLET, PINK),
        ("dress", PINK, MAGENTA),
        ("tiara", YELLOW),
    ),
    _job(
        "soldier",
        "soldiers",
        "train",
        (0.93, DARK, 0.90),
        ("plain", OLIVE, TAUPE),
        ("camouflage", OLIVE, GREEN),
        ("army helmet", OLIVE),
    ),
    _job("florist", "florists", "train", (0.07, TAN, 0.60), ("flowers", MINT, MAGENTA), ("apron", WHITE, GREEN)),
    _job(
        "plumber",
        "plumbers",
        "train",
        (0.94, TAN, 0.45),
        ("pipes", TAUPE, GRAY),
        ("overalls", YELLOW, BLUE),
        ("cap", RED),
    ),
    _job(
        "scientist",
        "scientists",
        "train",
        (0.50, BROWN, 0.40),
        ("flasks", MINT, TEAL),
        ("coat", WHITE, BLUE),
        ("goggles", GREEN),
    ),
    _job("waiter", "waiters", "train", (0.55, DARK, 0.85), ("dots", WINE, YELLOW), ("waistcoat", BLACK, WHITE)),
    _job("programmer", "programmers", "train", (0.85, BROWN, 0.85), ("code", BLACK, LIME), ("hoodie", GRAY, WHITE)),
    _job(
        "mechanic",
        "mechanics",
        "val",
        (0.95, DARK, 0.60),
        ("diagonals", ORANGE, BLACK),
        ("coverall", GRAY, RED),
        ("bandana", BLUE),
    ),
    _job(
        "flight attendant",
        "flight attendants",
        "val",
        (0.07, LIGHT, 0.90),
        ("portholes", GRAY, SKY),
        ("scarf jacket", RED, NAVY),
        ("pillbox", RED),
    ),
    _job(
        "electrician",
        "electricians",
        "val",
        (0.94, BROWN, 0.55),
        ("bolts", YELLOW, BLACK),
        ("shirt", BLUE, WHITE),
        ("hard hat", WHITE),
    ),
    _job("hairdresser", "hairdressers", "val", (0.06, DARK, 0.70), ("mirrors", PINK, SKY), ("tunic", MAGENTA, BLACK)),
    _job(
        "sailor",
        "sailors",
        "val",
        (0.92, LIGHT, 0.75),
        ("sea", SKY, BLUE),
        ("striped shirt", WHITE, NAVY),
        ("sailor hat", WHITE),
    ),
    _job(
        "housekeeper",
        "housekeepers",
        "val",
        (0.05, DARK, 0.35),
        ("windows", CREAM, SKY),
        ("apron", BLACK, WHITE),
        ("headband", WHITE),
    ),
    _job(
        "carpenter",
        "carpenters",
        "test",
        (0.95, LIGHT, 0.40),
        ("planks", CREAM, WOOD),
        ("apron", (150, 60, 48), WOOD),
        ("cap", TAUPE),
    ),
    _job("singer", "singers", "test", (0.07, DARK, 0.85), ("spotlights", NAVY, YELLOW), ("dress", YELLOW, ORANGE)),
    _job(
        "miner",
        "miners",
        "test",
        (0.96, BROWN, 0.60),
        ("rocks", BLACK, GRAY),
        ("coverall", ORANGE, BLACK),
        ("lamp helmet", WHITE),
    ),
    _job("tailor", "tailors", "test", (0.10, BROWN, 0.25), ("fabric", TEAL, MAGENTA), ("tape shirt", TEAL, YELLOW)),
    _job("lawyer", "lawyers", "test", (0.88, LIGHT, 0.30), ("columns", CREAM, TAUPE), ("suit", (60, 62, 72), RED)),
    _job(
        "veterinarian",
        "veterinarians",
        "test",
        (0.08, TAN, 0.75),
        ("paws", CREAM, WOOD),
        ("scrubs", GREEN, MINT),
        ("surgical cap", MINT),
    ),
    _job(
        "fisher",
        "fishers",
        "test",
        (0.94, TAN, 0.25),
        ("sea", (196, 206, 214), TEAL),
        ("raincoat", YELLOW, BLACK),
        ("rain hat", YELLOW),
    ),
    _job(
        "gardener",
        "gardeners",
        "test",
        (0.12, TAN, 0.30),
        ("hedge", GREEN, LIME),
        ("shirt", PINK, WHITE),
        ("sun hat", GREEN),
    ),
    _job(
        "butcher",
        "butchers",
        "test",
        (0.93, DARK, 0.50),
        ("checker", RED, WHITE),
        ("striped apron", WHITE, RED),
        ("cap", WHITE),
    ),
    _job(
        "violinist", "violinists", "test", (0.06, LIGHT, 0.80), ("curtain", WINE, RED), ("violin dress", BLACK, ORANGE)
    ),
)


SPORTS: tuple[Subject, ...] = (
    _job("soccer", "", "train", (0.85, BROWN, 0.90), ("field", SKY, GREEN), ("jersey", RED, WHITE)),
    _job(
        "tennis",
        "",
        "train",
        (0.30, LIGHT, 0.80),
        ("court", (190, 100, 60), WHITE),
        ("jersey", WHITE, LIME),
        ("headband", LIME),
    ),
    _job("golf", "", "train", (0.80, LIGHT, 0.20), ("field", SKY, LIME), ("jersey", SKY, NAVY), ("cap", WHITE)),
    _job("basketball", "", "train", (0.90, DARK, 0.90), ("court", ORANGE, BLACK), ("jersey", VIOLET, YELLOW)),
    _job("volleyball", "", "val", (0.12, TAN, 0.92), ("court", SKY, YELLOW), ("jersey", YELLOW, BLUE)),
    _job("baseball", "", "test", (0.93, MIXED, 0.75), ("court", GREEN, TAUPE), ("jersey", NAVY, WHITE), ("cap", NAVY)),
)

DESCRIPTORS: tuple[Subject, ...] = (
    _job("happy", "", "train", (0.30, MIXED, 0.85), ("plain", YELLOW, CREAM), ("sweater", ORANGE, YELLOW)),
    _job("angry", "", "train", (0.88, DARK, 0.50), ("plain", RED, WINE), ("sweater", BLACK, RED)),
    _job("rich", "", "train", (0.90, LIGHT, 0.15), ("curtain", YELLOW, WOOD), ("suit", NAVY, YELLOW)),
    _job("smart", "", "train", (0.70, TAN, 0.40), ("shelves", NAVY, CREAM), ("sweater", TEAL, WHITE)),
    _job("sad", "", "val", (0.15, BROWN, 0.40), ("plain", NAVY, BLUE), ("sweater", GRAY, BLUE)),
    _job("friendly", "", "test", (0.10, TAN, 0.60), ("plain", MINT, LIME), ("sweater", PINK, WHITE)),
)
