"""What people wear: one painter a garment and a hat, in head coordinates (origin between the ears, chin at +15)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fairlit_miniature.canvas import Canvas, Color, darker, lighter, mix

Painter = Callable[[Canvas, Color, Color, np.random.Generator], None]


LOW = 90.0  # below every picture's lower edge


def body(canvas: Canvas, color: Color) -> None:
    """Shoulders and trunk with a darker rim towards the arms."""
    rim = darker(color, 0.3)
    canvas.polygon([(-7, 17), (-19, 21), (-25, 27), (-28, LOW), (28, LOW), (25, 27), (19, 21), (7, 17)], rim)
    canvas.polygon([(-6, 17), (-18, 21.6), (-22, 28), (-22, LOW), (22, LOW), (22, 28), (18, 21.6), (6, 17)], color)


def opening(canvas: Canvas, color: Color, width: float = 7.0, *, depth: float = 34.0) -> None:
    """A V from the neck down, showing what is worn below."""
    canvas.polygon([(-width, 17), (0, depth), (width, 17)], color)


def collar(canvas: Canvas, color: Color) -> None:
    """Two points of a collar over the neckline."""
    for side in (-1, 1):
        canvas.polygon([(side * 6.5, 15.5), (0, 21), (side * 5, 24.5), (side * 10, 18)], color)


def _coat(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    opening(canvas, second, 8, depth=40)
    for side in (-1, 1):
        canvas.polygon([(side * 7, 16.5), (side * 12, 19), (side * 9, 30), (side * 2, 38)], lighter(first, 0.6))
        canvas.line([(side * 7, 17), (side * 9, 29), (side * 2, 38)], 0.9, darker(first, 0.35))
    canvas.arch((0, 19), (8, 12), 10, end=170, width=1.5, color=(40, 40, 48))


def _scrubs(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    for side in (-1, 1):
        canvas.line([(side * 7, 17), (0, 27)], 2.2, second)
    canvas.box(8, 29, 15, 36, second)


def _turnout(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    canvas.box(-24, 26, 24, 29.5, second)
    canvas.box(-24, 27.2, 24, 28.3, (226, 226, 226))
    canvas.box(-1.5, 18, 1.5, LOW, second)
    collar(canvas, darker(second, 0.3))


def _jacket(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    canvas.box(-8, 15, 8, 19, (206, 54, 48))
    canvas.line([(5, 19), (5, LOW)], 0.9, second)
    for side in (-3, 9):
        for y in (23, 28, 33):
            canvas.ellipse((side, y), (1.2, 1.2), darker(second, 0.3))


def _uniform(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    collar(canvas, lighter(first, 0.2))
    canvas.polygon([(-1.6, 20), (1.6, 20), (2.4, 36), (-2.4, 36)], (24, 24, 30))
    for side in (-1, 1):
        canvas.polygon([(side * 12, 19.4), (side * 22, 23), (side * 22, 26), (side * 12, 22.4)], second)
    canvas.ellipse((11, 30), (2.2, 2.6), (238, 198, 70))


def _overalls(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    for k in range(-3, 4):
        canvas.line([(k * 6.5, 20), (k * 6.5, LOW)], 0.8, darker(first, 0.35))
    canvas.box(-11, 28, 11, LOW, second)
    for side in (-1, 1):
        canvas.polygon([(side * 8, 18), (side * 12, 19), (side * 11, 30), (side * 7, 30)], second)
        canvas.ellipse((side * 9, 29), (1.6, 1.6), (238, 198, 70))


def _cardigan(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    opening(canvas, second, 8, depth=44)
    for side in (-1, 1):
        canvas.line([(side * 8, 17), (side * 1, 42)], 1.6, darker(first, 0.35))


def _robe(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    canvas.polygon([(-7, 16), (7, 16), (5, 20), (-5, 20)], second)
    for side in (-1, 1):
        canvas.polygon([(0, 19), (side * 1, 19), (side * 5, 36), (side * 0.6, 36)], second)


def _space_suit(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    canvas.ellipse((0, 19), (14, 4.6), (120, 126, 136))
    canvas.ellipse((0, 18), (11, 3.2), (60, 64, 74))
    canvas.box(-9, 28, 9, 36, (160, 166, 176))
    for x, color in ((-5, (220, 60, 50)), (0, second), (5, (70, 120, 220))):
        canvas.ellipse((x, 32), (1.6, 1.6), color)


def _safety_vest(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, (70, 80, 100))
    canvas.polygon([(-15, 19), (-5, 17), (0, 30), (5, 17), (15, 19), (17, LOW), (-17, LOW)], first)
    for side in (-1, 1):
        canvas.polygon([(side * 8, 18), (side * 11, 18.6), (side * 12, LOW), (side * 9, LOW)], second)
    canvas.box(-16.5, 31, 16.5, 34, second)


def _blouse(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    collar(canvas, second)
    for y in (27, 32, 37):
        canvas.ellipse((0, y), (1, 1), second)


def _dress(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.polygon([(-15, 27), (-4, 31), (0, 29), (4, 31), (15, 27), (17, LOW), (-17, LOW)], first)
    for side in (-1, 1):
        canvas.line([(side * 11, 18.5), (side * 12, 30)], 2.0, first)
    for x in (-10, -4, 2, 8):
        canvas.ellipse((x, 34), (1.2, 1.2), second)


def _violin_dress(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    _dress(canvas, first, lighter(first, 0.5), rng)
    canvas.ellipse((14, 25), (7.5, 5.5), darker(second, 0.3))
    canvas.ellipse((14, 25), (6, 4.2), mix(second, (150, 70, 20), 0.5))
    canvas.line([(14, 25), (31, 16)], 2.0, (50, 30, 20))
    canvas.line([(26, 38), (18, 8)], 0.9, (236, 226, 200))


def _camouflage(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    for color in (darker(second, 0.35), (150, 136, 96), (60, 56, 40)):
        for _ in range(6):
            x, y = rng.uniform(-20, 20), rng.uniform(24, 44)
            canvas.ellipse((x, y), (rng.uniform(2, 4), rng.uniform(1.4, 2.6)), color)
    collar(canvas, darker(first, 0.25))


def _apron(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    collar(canvas, lighter(first, 0.2))
    canvas.box(-11, 27, 11, LOW, second)
    for side in (-1, 1):
        canvas.line([(side * 8, 18.5), (side * 10, 28)], 2.2, second)


def _striped_apron(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    _apron(canvas, first, first, rng)
    for x in (-9, -4.5, 0, 4.5, 9):
        canvas.box(x - 1.1, 27, x + 1.1, LOW, second)


def _waistcoat(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, second)
    canvas.polygon([(-14, 19), (-7, 17), (0, 36), (7, 17), (14, 19), (15, LOW), (-15, LOW)], first)
    for side in (-1, 1):
        canvas.polygon([(0, 20), (side * 5.5, 17), (side * 5.5, 23)], (24, 24, 28))


def _hoodie(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.ellipse((0, 18), (15, 8), darker(first, 0.35))
    body(canvas, first)
    for side in (-1, 1):
        canvas.line([(side * 4, 19), (side * 4.6, 32)], 1.2, second)


def _coverall(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    collar(canvas, darker(first, 0.3))
    canvas.line([(0, 20), (0, LOW)], 1.2, second)
    canvas.box(7, 28, 14, 31.5, second)


def _scarf_jacket(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    canvas.box(-7.5, 15, 7.5, 19, second)
    canvas.polygon([(2, 17), (7, 18), (11, 30), (5, 29)], second)
    for side in (-1, 1):
        canvas.line([(side * 8, 19), (0, 36)], 1.2, darker(first, 0.45))


def _shirt(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    collar(canvas, lighter(first, 0.35))
    for y in (25, 30, 35):
        canvas.ellipse((0, y), (0.9, 0.9), second)


def _tape_shirt(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    _shirt(canvas, first, first, rng)
    for side in (-1, 1):
        canvas.polygon([(side * 7, 16.5), (side * 11, 17.5), (side * 10, 40), (side * 6.4, 40)], second)
        for y in (22, 26, 30, 34):
            canvas.line([(side * 6.5, y), (side * 9, y)], 0.8, (40, 40, 40))


def _tunic(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    canvas.box(-8, 16, 8, 20, second)
    canvas.line([(6, 20), (9, LOW)], 1.6, second)


def _striped_shirt(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    for y in (24, 29, 34, 39):
        canvas.box(-22, y, 22, y + 2.4, second)
    for side in (-1, 1):
        canvas.polygon([(side * 6, 16), (side * 15, 20), (side * 12, 26), (0, 27)], second)


def _suit(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    opening(canvas, (244, 244, 246), 8, depth=40)
    canvas.polygon([(-1.8, 19), (1.8, 19), (3, 36), (0, 40), (-3, 36)], second)
    for side in (-1, 1):
        canvas.polygon([(side * 7, 16.5), (side * 12, 19), (side * 10, 29), (side * 2, 38)], lighter(first, 0.14))


def _raincoat(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    collar(canvas, darker(first, 0.15))
    canvas.line([(0, 20), (0, LOW)], 1.2, second)
    for y in (26, 33):
        canvas.box(-3, y, 3, y + 1.4, second)


def _jersey(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    canvas.arch((0, 17), (8, 5), 0, end=180, width=2, color=second)
    number = float(rng.integers(-1, 2))
    canvas.box(-5 + number, 28, -2.4 + number, 38, second)
    canvas.box(2 + number, 28, 4.6 + number, 38, second)


def _sweater(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    canvas.arch((0, 16), (8, 5), 0, end=180, width=2.2, color=second)
    canvas.box(-22, 31, 22, 33, second)


CLOTHES: dict[str, Painter] = {
    "apron": _apron,
    "blouse": _blouse,
    "camouflage": _camouflage,
    "cardigan": _cardigan,
    "coat": _coat,
    "coverall": _coverall,
    "dress": _dress,
    "hoodie": _hoodie,
    "jacket": _jacket,
    "jersey": _jersey,
    "overalls": _overalls,
    "raincoat": _raincoat,
    "robe": _robe,
    "safety vest": _safety_vest,
    "scarf jacket": _scarf_jacket,
    "scrubs": _scrubs,
    "shirt": _shirt,
    "space suit": _space_suit,
    "striped apron": _striped_apron,
    "striped shirt": _striped_shirt,
    "suit": _suit,
    "sweater": _sweater,
    "tape shirt": _tape_shirt,
    "tunic": _tunic,
    "turnout": _turnout,
    "uniform": _uniform,
    "violin dress": _violin_dress,
    "waistcoat": _waistcoat,
}
