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


HEADGEAR: dict[str, Painter] = {
    "army helmet": _army_helmet,
    "bandana": _bandana,
    "cap": _cap,
    "fire helmet": _fire_helmet,
    "goggles": _goggles,
    "hard hat": _hard_hat,
    "headband": _headband,
    "lamp helmet": _lamp_helmet,
    "nurse cap": _nurse_cap,
    "peaked cap": _peaked_cap,
    "pillbox": _pillbox,
    "rain hat": _rain_hat,
    "sailor hat": _sailor_hat,
    "straw hat": _straw_hat,
    "sun hat": _sun_hat,
    "surgical cap": _surgical_cap,
    "tiara": _tiara,
    "toque": _toque,
}
