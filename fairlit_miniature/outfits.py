"""Further clothes, of sport, stage, cold and water, in head coordinates; cut with the helpers of `wardrobe`."""

from __future__ import annotations

import numpy as np

from fairlit_miniature.canvas import Canvas, Color, darker, lighter
from fairlit_miniature.wardrobe import LOW, Painter, body, collar, opening


def _turtleneck(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    canvas.box(-7.6, 14.5, 7.6, 20.5, lighter(first, 0.18))
    for y in (16.4, 18.4):
        canvas.box(-7.6, y, 7.6, y + 0.6, darker(first, 0.25))
    canvas.ellipse((0, 25.5), (2.2, 2.2), second)


def _polo(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    canvas.polygon([(-3.4, 18), (3.4, 18), (0, 28)], second)
    collar(canvas, second)
    for side in (-1, 1):
        canvas.box(min(side * 22, side * 27), 28, max(side * 22, side * 27), 30, second)


def _poncho(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.polygon([(-7, 16), (-30, 30), (-30, LOW), (30, LOW), (30, 30), (7, 16)], first)
    for depth, color in ((22, second), (26, lighter(first, 0.5)), (30, second)):
        canvas.line([(-26, depth + 2), (0, depth + 5), (26, depth + 2)], 1.8, color)
    canvas.polygon([(-6, 16), (0, 22), (6, 16)], darker(first, 0.4))


def _sash(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    opening(canvas, (244, 244, 246), 6, depth=28)
    canvas.polygon([(-17, 21), (-9, 18), (24, 42), (14, 44)], second)
    canvas.ellipse((12, 27), (2.6, 2.6), (240, 204, 80))


def _cape(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, second)
    for side in (-1, 1):
        canvas.polygon([(side * 4, 16), (side * 20, 18), (side * 31, 30), (side * 31, LOW), (side * 12, LOW)], first)
    canvas.ellipse((0, 19.5), (2.4, 2.4), (240, 204, 80))


def _dinner_jacket(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    opening(canvas, (246, 246, 248), 9, depth=46)
    for side in (-1, 1):
        canvas.polygon([(side * 8, 16.5), (side * 13, 19), (side * 11, 28), (side * 2, 40)], darker(first, 0.45))
        canvas.polygon([(0, 20.5), (side * 5.6, 17.6), (side * 5.6, 23.4)], second)
    canvas.ellipse((0, 20.5), (1.3, 1.3), darker(second, 0.3))


def _plaid_shirt(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    for x in (-18, -9, 0, 9, 18):
        canvas.box(x - 1.3, 21, x + 1.3, LOW, second)
    for y in (23, 29, 35):
        canvas.box(-24, y, 24, y + 1.8, darker(second, 0.25))
    collar(canvas, lighter(first, 0.25))


def _life_vest(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, second)
    for side in (-1, 1):
        canvas.polygon([(side * 1, 24), (side * 6, 17), (side * 15, 19), (side * 17, LOW), (side * 1, LOW)], first)
        canvas.box(min(side * 3, side * 17), 26, max(side * 3, side * 17), 28, (40, 40, 46))
    canvas.box(-2.2, 25.4, 2.2, 28.6, (236, 236, 236))


def _leather_jacket(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    opening(canvas, second, 7, depth=30)
    for side in (-1, 1):
        canvas.polygon([(side * 6, 16), (side * 15, 18), (side * 14, 24), (side * 8, 24)], lighter(first, 0.2))
    canvas.line([(2, 24), (5, LOW)], 1.0, (210, 210, 216))


def _parka(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    for x in np.linspace(-13, 13, 9):
        canvas.ellipse((x, 19.5 + abs(x) * 0.04), (3.2, 3.2), second)
    canvas.line([(0, 22), (0, LOW)], 1.2, darker(first, 0.5))
    canvas.box(-26, 27, 26, 28, darker(first, 0.25))


def _ruff(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    canvas.box(-2, 22, 2, LOW, second)
    for x in np.linspace(-12, 12, 7):
        canvas.ellipse((x, 18.6), (3.4, 3.0), (248, 248, 246))
        canvas.ellipse((x, 18.8), (1.5, 1.2), (206, 206, 210))


def _vest_top(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.polygon([(-13, 18.5), (-8, 17.4), (0, 27), (8, 17.4), (13, 18.5), (16, LOW), (-16, LOW)], first)
    canvas.line([(-8, 17.4), (0, 27), (8, 17.4)], 1.3, second)
    canvas.box(-16, 29, 16, 31, second)


def _wetsuit(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    canvas.box(-7.2, 14, 7.2, 19, first)
    for side in (-1, 1):
        canvas.polygon([(side * 14, 19.6), (side * 22, 23), (side * 20, LOW), (side * 12, LOW)], second)
    canvas.line([(0, 15), (0, LOW)], 1.0, (206, 206, 210))


def _argyle_vest(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, (240, 240, 240))
    canvas.polygon([(-15, 19), (-7, 17), (0, 27), (7, 17), (15, 19), (16, LOW), (-16, LOW)], first)
    for x in (-10, 0, 10):
        canvas.polygon([(x - 4, 32), (x, 27.5), (x + 4, 32), (x, 36.5)], second)
    collar(canvas, (240, 240, 240))


def _laced_bodice(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, (246, 240, 228))
    canvas.polygon([(-13, 24), (-5, 27), (5, 27), (13, 24), (15, LOW), (-15, LOW)], first)
    for y in (27.5, 31.5, 35.5):
        canvas.line([(-3, y), (3, y + 3)], 0.9, second)
        canvas.line([(3, y), (-3, y + 3)], 0.9, second)


def _quilted_jacket(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    for k in range(-8, 9):
        canvas.line([(k * 6, 18), (k * 6 + 16, 40)], 0.7, second)
        canvas.line([(k * 6, 18), (k * 6 - 16, 40)], 0.7, second)
    collar(canvas, darker(first, 0.3))


def _braided_tunic(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    canvas.box(-7.6, 15, 7.6, 19, second)
    for y in (22, 26, 30, 34):
        canvas.box(-9, y, 9, y + 1.6, second)
    for side in (-1, 1):
        canvas.ellipse((side * 20, 22.5), (6, 2.4), second)


def _halves(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    body(canvas, first)
    canvas.polygon([(0, 17), (7, 17), (19, 21), (25, 27), (28, LOW), (0, LOW)], second)
    for y in (23, 28.5):
        canvas.ellipse((0, y), (2.2, 2.2), (250, 250, 250))


CLOTHES: dict[str, Painter] = {
    "argyle vest": _argyle_vest,
    "braided tunic": _braided_tunic,
    "cape": _cape,
    "dinner jacket": _dinner_jacket,
    "halves": _halves,
    "laced bodice": _laced_bodice,
    "leather jacket": _leather_jacket,
    "life vest": _life_vest,
    "parka": _parka,
    "plaid shirt": _plaid_shirt,
    "polo": _polo,
    "poncho": _poncho,
    "quilted jacket": _quilted_jacket,
    "ruff": _ruff,
    "sash": _sash,
    "turtleneck": _turtleneck,
    "vest top": _vest_top,
    "wetsuit": _wetsuit,
}
