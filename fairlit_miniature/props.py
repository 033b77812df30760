"""What people hold before the chest: one painter a thing, in head coordinates; all stay below the chin (y > 16)."""

from __future__ import annotations

from collections.abc import Callable

from fairlit_miniature.canvas import Canvas, Color, darker, lighter

Painter = Callable[[Canvas, Color], None]

STEEL: Color = (186, 192, 200)
TIMBER: Color = (150, 104, 62)


def _book(canvas: Canvas, color: Color) -> None:
    canvas.polygon([(9, 20), (17, 22), (25, 20), (25, 30), (17, 32), (9, 30)], darker(color, 0.2))
    canvas.polygon([(10, 20.6), (16.6, 22.4), (16.6, 30.4), (10, 28.8)], (250, 248, 240))
    canvas.polygon([(24, 20.6), (17.4, 22.4), (17.4, 30.4), (24, 28.8)], (250, 248, 240))
    canvas.box(9, 29, 25, 31.5, color)


def _guitar(canvas: Canvas, color: Color) -> None:
    canvas.line([(-24, 19), (14, 28)], 2.2, (60, 40, 28))
    canvas.ellipse((9, 28), (6.5, 5), color)
    canvas.ellipse((17, 30), (8, 6.5), color)
    canvas.ellipse((11.5, 28.4), (2.2, 2.2), (30, 22, 18))


def _camera(canvas: Canvas, color: Color) -> None:
    canvas.box(10, 21, 26, 31, color)
    canvas.box(13, 19, 18, 21.4, darker(color, 0.3))
    canvas.ellipse((18, 26), (4.4, 4.4), (24, 24, 30))
    canvas.ellipse((18, 26), (2.4, 2.4), (110, 150, 220))


def _wrench(canvas: Canvas, color: Color) -> None:
    canvas.line([(13, 31), (20, 22)], 2.8, color)
    canvas.ellipse((21, 20.5), (4.2, 4.2), color)
    canvas.polygon([(21, 21), (20, 15.8), (24.6, 17)], (60, 60, 66))


def _hammer(canvas: Canvas, color: Color) -> None:
    canvas.line([(13, 32), (20, 20)], 2.4, TIMBER)
    canvas.polygon([(14, 18), (17, 16.5), (26, 21.5), (24, 24.5)], color)


def _brush(canvas: Canvas, color: Color) -> None:
    canvas.line([(14, 32), (19, 22)], 2.0, TIMBER)
    canvas.polygon([(17, 22), (21, 24), (24, 18), (21, 16.5)], color)
    canvas.line([(17, 22), (21, 24)], 1.6, STEEL)


def _scissors(canvas: Canvas, color: Color) -> None:
    canvas.line([(14, 28), (23, 17)], 1.8, STEEL)
    canvas.line([(21, 28), (13.5, 17.5)], 1.8, STEEL)
    for x in (13.4, 21.6):
        canvas.arch((x, 30), (2.6, 2.6), 0, end=360, width=1.5, color=color)


def _loaf(canvas: Canvas, color: Color) -> None:
    canvas.ellipse((17, 27), (10, 5), darker(color, 0.3))
    canvas.ellipse((17, 26.4), (9.4, 4.4), color)
    for x in (12, 17, 22):
        canvas.line([(x - 1.4, 24), (x + 1.4, 28)], 1.1, lighter(color, 0.6))


def _bottle(canvas: Canvas, color: Color) -> None:
    canvas.polygon([(16, 17), (19, 17), (19, 21), (22, 24), (22, 34), (13, 34), (13, 24), (16, 21)], color)
    canvas.box(13, 26, 22, 30.4, (248, 240, 216))


def _cup(canvas: Canvas, color: Color) -> None:
    canvas.arch((22.6, 26), (3.4, 3), 270, end=450, width=1.6, color=darker(color, 0.2))
    canvas.polygon([(11, 22), (23, 22), (21.4, 32), (12.6, 32)], color)
    canvas.ellipse((17, 22), (6, 1.6), (92, 58, 36))
    for x in (15, 19):
        canvas.line([(x, 20), (x + 1, 18), (x - 0.4, 16.6)], 0.8, (250, 250, 250))


def _flower(canvas: Canvas, color: Color) -> None:
    canvas.line([(17, 33), (18, 23)], 1.6, (64, 140, 70))
    for dx, dy in ((-3.2, 0), (3.2, 0), (0, -3), (0, 3)):
        canvas.ellipse((18 + dx, 21.5 + dy), (2.9, 2.9), color)
    canvas.ellipse((18, 21.5), (2, 2), (250, 220, 90))


def _fish(canvas: Canvas, color: Color) -> None:
    canvas.ellipse((15.5, 26), (8, 4.2), color)
    canvas.polygon([(22, 26), (28, 21.6), (28, 30.4)], darker(color, 0.15))
    canvas.ellipse((10.6, 25), (1, 1), (20, 20, 24))


def _ball(canvas: Canvas, color: Color) -> None:
    canvas.ellipse((18, 26), (7.4, 7.4), color)
    canvas.arch((18, 26), (3, 7.2), 0, end=360, width=0.9, color=darker(color, 0.5))
    canvas.line([(10.8, 26), (25.2, 26)], 0.9, darker(color, 0.5))


def _clipboard(canvas: Canvas, color: Color) -> None:
    canvas.box(9.5, 19, 23.5, 34, color)
    canvas.box(11, 21, 22, 34, (250, 250, 248))
    canvas.box(14, 17.6, 19, 20.6, STEEL)
    for y in (23.4, 26, 28.6):
        canvas.box(12.4, y, 20.6, y + 0.9, (96, 104, 120))


def _microphone(canvas: Canvas, color: Color) -> None:
    canvas.line([(15, 33), (17.4, 23)], 2.6, (40, 40, 46))
    canvas.ellipse((18, 20.5), (3.8, 4), color)
    canvas.line([(14.6, 21.6), (21.4, 22.2)], 1.0, darker(color, 0.45))


def _carrots(canvas: Canvas, color: Color) -> None:
    for x in (12.5, 17.5, 22.5):
        canvas.polygon([(x - 2.3, 22.5), (x + 2.3, 22.5), (x, 33)], color)
        canvas.line([(x - 1.6, 18.5), (x, 22.5), (x + 1.6, 18.5)], 1.4, (70, 150, 70))


def _wheat(canvas: Canvas, color: Color) -> None:
    for x, lean in ((14, -2), (18, 0), (22, 2)):
        canvas.line([(18, 33), (x + lean, 19)], 1.0, darker(color, 0.3))
        for y in (18.6, 21, 23.4):
            canvas.ellipse((x + lean * 0.6, y), (1.7, 1.6), color)


def _parcel(canvas: Canvas, color: Color) -> None:
    canvas.box(8, 21, 26, 34, color)
    canvas.box(15.6, 21, 18.4, 34, (206, 60, 52))
    canvas.box(8, 25.6, 26, 28, (206, 60, 52))


def _cat(canvas: Canvas, color: Color) -> None:
    canvas.polygon([(11.5, 24), (12, 17), (16, 20.6)], color)
    canvas.polygon([(24.5, 24), (24, 17), (20, 20.6)], color)
    canvas.ellipse((18, 25), (7, 6), color)
    canvas.ellipse((18, 33), (8.6, 5), darker(color, 0.15))
    canvas.ellipse((18, 26.6), (1, 0.7), (220, 120, 120))
    for side in (-2.8, 2.8):
        canvas.ellipse((18 + side, 24), (0.9, 1.1), (60, 120, 60))


def _bird(canvas: Canvas, color: Color) -> None:
    canvas.ellipse((18, 27), (6, 5), color)
    canvas.ellipse((14, 21.6), (3.8, 3.6), color)
    canvas.polygon([(10.6, 21.2), (7, 22.6), (10.8, 23.2)], (240, 170, 50))
    canvas.polygon([(22, 25), (28, 20.5), (24, 29)], darker(color, 0.3))


def _horn(canvas: Canvas, color: Color) -> None:
    canvas.line([(6, 24), (20, 24)], 2.2, color)
    canvas.polygon([(18, 23), (27, 18), (27, 30), (18, 25)], color)
    canvas.arch((13, 27), (4.4, 3.2), 0, end=360, width=1.5, color=darker(color, 0.2))


def _drum(canvas: Canvas, color: Color) -> None:
    canvas.box(-12, 25, 12, 36, color)
    canvas.ellipse((0, 25), (12, 2.6), (248, 244, 230))
    for x in (-12, -4, 4):
        canvas.line([(x, 26), (x + 4, 32), (x + 8, 26)], 0.9, (250, 214, 90))


def _balloon(canvas: Canvas, color: Color) -> None:
    canvas.line([(18, 34), (21, 27)], 0.8, (60, 60, 66))
    canvas.ellipse((21, 22), (5.4, 6), color)
    canvas.ellipse((19.2, 20), (1.4, 1.8), lighter(color, 0.6))


def _magnifier(canvas: Canvas, color: Color) -> None:
    canvas.line([(13, 32.5), (17, 26.5)], 2.6, (60, 44, 34))
    canvas.ellipse((20, 22.5), (5.6, 5.6), color)
    canvas.ellipse((20, 22.5), (4, 4), (206, 232, 246))


def _globe(canvas: Canvas, color: Color) -> None:
    canvas.arch((18, 25), (8.2, 8.2), 250, end=470, width=1.4, color=(206, 166, 80))
    canvas.ellipse((18, 25), (6.8, 6.8), color)
    canvas.ellipse((16, 23.6), (2.8, 3), (96, 168, 84))
    canvas.ellipse((21, 27.6), (2, 2.4), (96, 168, 84))


def _lantern(canvas: Canvas, color: Color) -> None:
    canvas.arch((18, 20), (3.2, 3), 180, end=360, width=1.1, color=(50, 50, 56))
    canvas.box(13.6, 20, 22.4, 32, (50, 50, 56))
    canvas.box(15, 22, 21, 30, color)


def _binoculars(canvas: Canvas, color: Color) -> None:
    for x in (12.5, 20.5):
        canvas.polygon([(x - 2.4, 21), (x + 2.4, 21), (x + 3.6, 30), (x - 3.6, 30)], color)
        canvas.ellipse((x, 30), (3.6, 1.8), (120, 160, 210))
    canvas.box(14, 23, 19, 26, darker(color, 0.3))


def _palette(canvas: Canvas, color: Color) -> None:
    canvas.ellipse((17, 27), (9, 5.8), color)
    for x, y, paint in ((11, 26, (210, 50, 50)), (15, 23.6, (60, 110, 200)), (20, 24, (240, 206, 70))):
        canvas.ellipse((x, y), (1.7, 1.5), paint)
    canvas.ellipse((21.5, 28.4), (1.8, 1.4), (70, 60, 54))


def _pot(canvas: Canvas, color: Color) -> None:
    canvas.polygon([(13, 20), (22, 20), (25, 26), (22, 33), (13, 33), (10, 26)], color)
    canvas.box(12.4, 18.6, 22.6, 20.8, darker(color, 0.25))
    canvas.line([(10.6, 25.6), (24.4, 25.6)], 1.4, lighter(color, 0.5))


def _keys(canvas: Canvas, color: Color) -> None:
    canvas.arch((18, 20), (3.4, 3.2), 0, end=360, width=1.4, color=color)
    for foot in (14, 18.6, 23):
        canvas.line([(18, 23), (foot, 31)], 1.5, color)
        canvas.line([(foot - 0.4, 29.4), (foot + 2, 29)], 1.1, color)


def _rope(canvas: Canvas, color: Color) -> None:
    for radius in (7.6, 5.4, 3.2):
        canvas.arch((18, 26), (radius, radius * 0.86), 0, end=360, width=1.5, color=color)


def _cards(canvas: Canvas, color: Color) -> None:
    for lean, x in ((-4, 12), (0, 16.6), (4, 21.2)):
        canvas.polygon([(x - 2.6 + lean * 0.3, 19), (x + 3 + lean * 0.3, 19), (x + 2.6, 30), (x - 3, 30)], color)
        canvas.ellipse((x + lean * 0.2, 24), (1.4, 1.4), (206, 44, 52))
        canvas.line([(x + 3 + lean * 0.3, 19), (x + 2.6, 30)], 0.7, (60, 60, 66))


PROPS: dict[str, Painter] = {
    "ball": _ball,
    "balloon": _balloon,
    "binoculars": _binoculars,
    "bird": _bird,
    "book": _book,
    "bottle": _bottle,
    "brush": _brush,
    "camera": _camera,
    "cards": _cards,
    "carrots": _carrots,
    "cat": _cat,
    "clipboard": _clipboard,
    "cup": _cup,
    "drum": _drum,
    "fish": _fish,
    "flower": _flower,
    "globe": _globe,
    "guitar": _guitar,
    "hammer": _hammer,
    "horn": _horn,
    "keys": _keys,
    "lantern": _lantern,
    "loaf": _loaf,
    "magnifier": _magnifier,
    "microphone": _microphone,
    "palette": _palette,
    "parcel": _parcel,
    "pot": _pot,
    "rope": _rope,
    "scissors": _scissors,
    "wheat": _wheat,
    "wrench": _wrench,
}
