"""What people wear on their heads: one painter a hat, in head coordinates; all end above the brows (y < -6)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fairlit_miniature.canvas import Canvas, Color, Point, darker, lighter

Painter = Callable[[Canvas, Color], None]


def _dome(canvas: Canvas, color: Color, width: float, *, top: float, bottom: float) -> None:
    """A half ellipse from `bottom` up to `top`, lit from the upper left."""
    angles = np.linspace(np.pi, 2 * np.pi, 24)

    def outline(factor: float) -> list[Point]:
        height = (bottom - top) * factor
        return [(width * factor * np.cos(a), bottom + height * np.sin(a)) for a in angles]

    canvas.polygon(outline(1.0), darker(color, 0.22))
    canvas.polygon([(x - 1.0, y) for x, y in outline(0.9)], color)


def _hard_hat(canvas: Canvas, color: Color) -> None:
    _dome(canvas, color, 14.5, top=-23, bottom=-8)
    canvas.box(-1.8, -22.8, 1.8, -9, lighter(color, 0.45))
    canvas.ellipse((0, -8.2), (17.5, 2.0), darker(color, 0.12))


def _lamp_helmet(canvas: Canvas, color: Color) -> None:
    _hard_hat(canvas, color)
    canvas.ellipse((0, -14.5), (4.6, 4.6), (70, 70, 76))
    canvas.ellipse((0, -14.5), (3.4, 3.4), (255, 246, 150))


def _fire_helmet(canvas: Canvas, color: Color) -> None:
    _dome(canvas, color, 14.5, top=-25, bottom=-8)
    canvas.ellipse((0, -8.2), (19, 2.4), darker(color, 0.3))
    canvas.polygon([(-4.5, -18), (0, -22), (4.5, -18), (3.6, -9.5), (-3.6, -9.5)], (244, 204, 80))


def _army_helmet(canvas: Canvas, color: Color) -> None:
    _dome(canvas, color, 15.5, top=-22, bottom=-7)
    for x, y in ((-8, -12), (-2, -17), (5, -12), (10, -10)):
        canvas.ellipse((x, y), (3, 1.8), darker(color, 0.45))


def _peaked_cap(canvas: Canvas, color: Color) -> None:
    canvas.ellipse((0, -17), (17, 6.5), lighter(color, 0.08))
    canvas.box(-13, -15, 13, -9.5, darker(color, 0.35))
    canvas.ellipse((0, -8.6), (11, 2.2), (18, 18, 22))
    canvas.ellipse((0, -15.5), (2.4, 2.8), (240, 200, 70))


def _cap(canvas: Canvas, color: Color) -> None:
    _dome(canvas, color, 14, top=-21, bottom=-9)
    canvas.ellipse((0, -8.6), (12, 2.2), darker(color, 0.35))


def _toque(canvas: Canvas, color: Color) -> None:
    for x, y, radius in ((-8, -20, 7), (8, -20, 7), (0, -23, 8)):
        canvas.ellipse((x, y), (radius, radius * 0.9), darker(color, 0.08 if x else 0.0))
    canvas.box(-12.5, -17, 12.5, -9, darker(color, 0.05))
    for x in (-7, 0, 7):
        canvas.line([(x, -16), (x, -10)], 0.8, darker(color, 0.25))


def _brimmed(canvas: Canvas, color: Color, band: Color, *, width: float) -> None:
    _dome(canvas, color, 12.5, top=-23, bottom=-10)
    canvas.box(-12.2, -12.5, 12.2, -9.6, band)
    canvas.ellipse((0, -8.8), (width, 2.6), darker(color, 0.15))


def _straw_hat(canvas: Canvas, color: Color) -> None:
    _brimmed(canvas, color, (176, 60, 52), width=22)


def _sun_hat(canvas: Canvas, color: Color) -> None:
    _brimmed(canvas, color, (250, 244, 230), width=21)
    canvas.ellipse((8, -11), (2.6, 2.6), (230, 80, 120))


def _rain_hat(canvas: Canvas, color: Color) -> None:
    _dome(canvas, color, 14, top=-22, bottom=-8)
    canvas.polygon([(-14, -10), (14, -10), (20, -4.5), (12, -7.4), (-12, -7.4), (-20, -4.5)], darker(color, 0.15))


def _nurse_cap(canvas: Canvas, color: Color) -> None:
    canvas.polygon([(-10, -12), (-12, -20), (12, -20), (10, -12)], color)
    canvas.box(-1.1, -19, 1.1, -13, (214, 40, 48))
    canvas.box(-3, -17.1, 3, -14.9, (214, 40, 48))


def _surgical_cap(canvas: Canvas, color: Color) -> None:
    _dome(canvas, color, 14.2, top=-22, bottom=-8.5)
    canvas.box(-13.5, -10.6, 13.5, -8, darker(color, 0.25))


def _tiara(canvas: Canvas, color: Color) -> None:
    points = [(-10, -12), (-9, -17), (-5, -14), (0, -20), (5, -14), (9, -17), (10, -12), (0, -14)]
    canvas.polygon(points, color)
    canvas.ellipse((0, -15.6), (1.3, 1.3), (220, 60, 90))


def _goggles(canvas: Canvas, color: Color) -> None:
    canvas.box(-14, -13, 14, -11, (50, 50, 56))
    for side in (-5.5, 5.5):
        canvas.ellipse((side, -12), (5, 3.4), (50, 50, 56))
        canvas.ellipse((side, -12), (3.8, 2.4), lighter(color, 0.35))


def _bandana(canvas: Canvas, color: Color) -> None:
    _dome(canvas, color, 14, top=-20, bottom=-8)
    for x, y in ((-8, -11), (-3, -15), (3, -10.5), (8, -13)):
        canvas.ellipse((x, y), (1, 1), (240, 240, 240))
    canvas.polygon([(13, -10), (20, -13), (19, -7)], darker(color, 0.2))


def _pillbox(canvas: Canvas, color: Color) -> None:
    canvas.box(-10, -20, 10, -13, color)
    canvas.ellipse((0, -20), (10, 2.4), lighter(color, 0.2))
    canvas.box(-10, -15, 10, -13, darker(color, 0.3))


def _sailor_hat(canvas: Canvas, color: Color) -> None:
    _dome(canvas, color, 11, top=-22, bottom=-13)
    canvas.polygon([(-13, -16), (13, -16), (12, -9.5), (-12, -9.5)], darker(color, 0.1))
    canvas.line([(-12, -12), (12, -12)], 1.0, (50, 70, 130))


def _headband(canvas: Canvas, color: Color) -> None:
    canvas.arch((0, -2), (13.6, 13), 205, end=335, width=3.2, color=color)
    for x in (-7, -2.4, 2.4, 7):
        canvas.ellipse((x, -15.6 + abs(x) * 0.16), (1.8, 1.8), color)


def _beret(canvas: Canvas, color: Color) -> None:
    canvas.ellipse((2.5, -15.5), (16, 6.5), color)
    canvas.ellipse((-1, -17), (9, 3.4), lighter(color, 0.2))
    canvas.box(-11.5, -12, 11.5, -9.4, darker(color, 0.3))
    canvas.line([(3, -21), (5, -23.5)], 1.4, darker(color, 0.3))


def _cowboy_hat(canvas: Canvas, color: Color) -> None:
    canvas.polygon([(-10, -10), (-11, -22), (-4, -24.5), (0, -22), (4, -24.5), (11, -22), (10, -10)], color)
    canvas.box(-10.4, -13, 10.4, -10.4, darker(color, 0.55))
    canvas.polygon([(-24, -13), (-13, -8.6), (13, -8.6), (24, -13), (14, -6.6), (-14, -6.6)], darker(color, 0.2))


def _bowler(canvas: Canvas, color: Color) -> None:
    _dome(canvas, color, 12.5, top=-25, bottom=-10)
    canvas.box(-12.3, -13, 12.3, -10, lighter(color, 0.35))
    canvas.ellipse((0, -9), (16.5, 2.2), darker(color, 0.25))


def _top_hat(canvas: Canvas, color: Color) -> None:
    canvas.box(-9.5, -27.5, 9.5, -9.5, color)
    canvas.box(-9.5, -14, 9.5, -10.6, (176, 44, 60))
    canvas.box(-7.5, -26, -5.5, -15, lighter(color, 0.3))
    canvas.ellipse((0, -9), (17, 2.1), darker(color, 0.2))


def _headset(canvas: Canvas, color: Color) -> None:
    canvas.arch((0, 0), (13.2, 17), 195, end=345, width=2.4, color=color)
    for side in (-1, 1):
        canvas.ellipse((side * 13, 0.5), (3, 4.6), darker(color, 0.2))
        canvas.ellipse((side * 13.4, 0.5), (1.7, 3), lighter(color, 0.4))


def _wool_hat(canvas: Canvas, color: Color) -> None:
    _dome(canvas, color, 13.5, top=-22, bottom=-8)
    canvas.ellipse((0, -23.5), (4, 4), (246, 244, 238))
    canvas.box(-14, -11.8, 14, -7.6, lighter(color, 0.45))
    for x in (-10, -6, -2, 2, 6, 10):
        canvas.line([(x, -11.6), (x, -7.8)], 0.8, darker(color, 0.1))


def _visor(canvas: Canvas, color: Color) -> None:
    canvas.box(-12.6, -13, 12.6, -10, darker(color, 0.25))
    canvas.polygon([(-13, -10.5), (13, -10.5), (17, -7), (0, -8.4), (-17, -7)], color)


def _flat_cap(canvas: Canvas, color: Color) -> None:
    canvas.polygon([(-14, -9.5), (-14.5, -14), (-8, -19), (6, -19.5), (15, -14), (16, -9)], color)
    for x in (-9, -2, 5):
        canvas.line([(x, -17.5), (x + 2.5, -10)], 0.8, darker(color, 0.35))
    canvas.polygon([(-13, -10.5), (13, -10.5), (17, -7.6), (-11, -7.8)], darker(color, 0.35))


def _cycle_helmet(canvas: Canvas, color: Color) -> None:
    _dome(canvas, color, 14.5, top=-23.5, bottom=-9)
    for x in (-8, -2.6, 2.6, 8):
        canvas.polygon([(x - 1.3, -11), (x * 0.7, -20.5), (x + 1.3, -11)], (30, 30, 36))
    canvas.box(-14, -10, 14, -8, lighter(color, 0.5))


def _graduate_cap(canvas: Canvas, color: Color) -> None:
    canvas.box(-11.5, -15, 11.5, -9, darker(color, 0.25))
    canvas.polygon([(-20, -18), (0, -24), (20, -18), (0, -13)], color)
    canvas.line([(0, -18.5), (16, -16.5), (16.5, -9)], 1.2, (240, 200, 70))


def _feather_hat(canvas: Canvas, color: Color) -> None:
    _dome(canvas, color, 12, top=-21, bottom=-9.5)
    canvas.box(-12.2, -12, 12.2, -9.4, darker(color, 0.5))
    canvas.polygon([(-16, -9), (16, -9), (19, -6.6), (-19, -6.6)], darker(color, 0.2))
    canvas.polygon([(8, -11), (11, -21), (18, -27), (17, -18), (11, -10.5)], (240, 236, 220))


def _swim_cap(canvas: Canvas, color: Color) -> None:
    _dome(canvas, color, 12.8, top=-19, bottom=-8)
    canvas.line([(0, -18.4), (0, -8.6)], 1.4, lighter(color, 0.6))


def _wreath(canvas: Canvas, color: Color) -> None:
    for number, angle in enumerate(np.radians(np.linspace(200, 340, 9))):
        x, y = 12.8 * np.cos(angle), 1.0 + 14.5 * np.sin(angle)
        canvas.ellipse((x, y), (2.9, 2.6), color if number % 2 else (70, 140, 70))
        canvas.ellipse((x, y), (1.1, 1.1), (250, 230, 120))


def _head_scarf(canvas: Canvas, color: Color) -> None:
    _dome(canvas, color, 14.2, top=-20.5, bottom=-6.5)
    canvas.polygon([(-13.8, -8), (0, -12.6), (13.8, -8), (0, -10)], lighter(color, 0.45))
    for side in (-1, 1):
        canvas.polygon([(0, -19), (side * 7, -25), (side * 8, -19.5)], darker(color, 0.15))


HEADGEAR: dict[str, Painter] = {
    "army helmet": _army_helmet,
    "bandana": _bandana,
    "beret": _beret,
    "bowler": _bowler,
    "cap": _cap,
    "cowboy hat": _cowboy_hat,
    "cycle helmet": _cycle_helmet,
    "feather hat": _feather_hat,
    "fire helmet": _fire_helmet,
    "flat cap": _flat_cap,
    "goggles": _goggles,
    "graduate cap": _graduate_cap,
    "hard hat": _hard_hat,
    "head scarf": _head_scarf,
    "headband": _headband,
    "headset": _headset,
    "lamp helmet": _lamp_helmet,
    "nurse cap": _nurse_cap,
    "peaked cap": _peaked_cap,
    "pillbox": _pillbox,
    "rain hat": _rain_hat,
    "sailor hat": _sailor_hat,
    "straw hat": _straw_hat,
    "sun hat": _sun_hat,
    "surgical cap": _surgical_cap,
    "swim cap": _swim_cap,
    "tiara": _tiara,
    "top hat": _top_hat,
    "toque": _toque,
    "visor": _visor,
    "wool hat": _wool_hat,
    "wreath": _wreath,
}
