"""What is behind the people, in plain patterns and near things; each painter draws a few shapes in two colours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fairlit_miniature.canvas import SIZE, Canvas, Color, darker, lighter, mix

Painter = Callable[[Canvas, Color, Color, np.random.Generator], None]


def _plain(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    for row in range(0, SIZE, 2):
        canvas.box(0, row, SIZE, row + 2.2, mix(first, second, 0.5 * row / SIZE))


def _tiles(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    step, shift = 10.0, rng.uniform(0, 10)
    for k in range(-1, 8):
        canvas.box(k * step + shift, 0, k * step + shift + 1.2, SIZE, second)
        canvas.box(0, k * step + shift, SIZE, k * step + shift + 1.2, second)


def _checker(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    shift = rng.uniform(0, 16)
    for i in range(-2, 8):
        for j in range(-2, 8):
            if (i + j) % 2:
                canvas.box(i * 8 + shift, j * 8 + shift, i * 8 + shift + 8, j * 8 + shift + 8, second)


def _flames(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(darker(first, 0.65))
    for layer, color in enumerate((first, second)):
        for k in range(-1, 8):
            x, height = k * 10 + rng.uniform(-3, 3), rng.uniform(30, 58) - 16 * layer
            canvas.polygon([(x - 7, SIZE), (x - 5, SIZE - height * 0.5), (x, SIZE - height), (x + 6, SIZE)], color)


def _lights(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    for x, color in ((7, second), (57, (70, 130, 240))):
        y = rng.uniform(8, 16)
        for radius, share in ((11, 0.5), (7, 0.1), (3, -0.4)):
            canvas.ellipse((x, y), (radius, radius), mix(color, first if share > 0 else (255, 255, 255), abs(share)))


def _field(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    horizon = rng.uniform(24, 32)
    canvas.fill(first)
    canvas.box(0, horizon, SIZE, SIZE, second)
    for k in range(6):
        canvas.line([(32 + (k - 2.5) * 5, horizon), (32 + (k - 2.5) * 26, SIZE)], 1.2, darker(second, 0.2))


def _chalkboard(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(darker(first, 0.35))
    canvas.box(0, 0, SIZE, 3, (142, 96, 56))
    for y in (9, 17, 25, 33):
        for x in (3, 48):
            canvas.line([(x, y), (x + rng.uniform(6, 13), y + rng.uniform(-1, 1))], 1.3, second)


def _planks(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    shift = rng.uniform(0, 9)
    for k in range(-1, 8):
        canvas.box(k * 9 + shift, 0, k * 9 + shift + 1.5, SIZE, second)
        canvas.box(k * 9 + shift + 4, 0, k * 9 + shift + 4.6, SIZE, mix(first, second, 0.35))


def _sky(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    _plain(canvas, first, second, rng)
    for left, high in ((8, 12), (54, 20), (6, 40)):
        x, y = left + rng.uniform(-4, 4), high + rng.uniform(-4, 4)
        for dx, dy, radius in ((-4, 1, 4), (0, -1, 5), (5, 1, 4)):
            canvas.ellipse((x + dx, y + dy), (radius, radius * 0.7), second)


def _stars(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    for _ in range(34):
        x, y, radius = rng.uniform(0, SIZE), rng.uniform(0, SIZE), rng.uniform(0.4, 1.0)
        canvas.ellipse((x, y), (radius, radius), second)
    canvas.ellipse((58, 8), (8, 8), (90, 120, 190))


def _bricks(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    shift = rng.uniform(0, 6)
    for row in range(-1, 11):
        y = row * 6.4 + shift
        canvas.box(0, y, SIZE, y + 1.1, second)
        for k in range(-1, 6):
            x = k * 13 + 6.5 * (row % 2)
            canvas.box(x, y, x + 1.1, y + 6.4, second)


def _shelves(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(darker(first, 0.45))
    books: tuple[Color, ...] = ((176, 60, 52), (60, 100, 150), (210, 170, 80), (80, 130, 80), second)
    for shelf in range(4):
        x, base = 0.0, shelf * 16 + 14.0
        while x < SIZE:
            width, height = rng.uniform(2.6, 4.2), rng.uniform(8, 12)
            canvas.box(x, base - height, x + width - 0.5, base, books[rng.integers(len(books))])
            x += width
        canvas.box(0, base, SIZE, base + 2, first)


def _blinds(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    shift = rng.uniform(0, 5)
    for k in range(-1, 14):
        canvas.box(0, k * 5 + shift, SIZE, k * 5 + shift + 1.6, second)


def _spotlights(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(darker(first, 0.3))
    for x in (10, 54):
        foot = x + rng.uniform(-6, 6)
        canvas.polygon([(x - 2, 0), (x + 2, 0), (foot + 13, SIZE), (foot - 13, SIZE)], mix(first, second, 0.55))
        canvas.ellipse((x, 2), (4, 3), lighter(second, 0.6))


def _flowers(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    for i in range(5):
        for j in range(5):
            x, y = i * 15 + 2 + rng.uniform(-2, 2), j * 15 + 2 + rng.uniform(-2, 2)
            color = second if (i + j) % 2 else (250, 246, 240)
            for dx, dy in ((-2, 0), (2, 0), (0, -2), (0, 2)):
                canvas.ellipse((x + dx, y + dy), (2.2, 2.2), color)
            canvas.ellipse((x, y), (1.5, 1.5), (244, 200, 60))


def _pipes(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    for x in (6 + rng.uniform(-2, 2), 56 + rng.uniform(-2, 2)):
        canvas.box(x - 4, 0, x + 4, SIZE, second)
        canvas.box(x - 2.4, 0, x - 0.8, SIZE, lighter(second, 0.6))
        for y in (14, 40):
            canvas.box(x - 5.5, y, x + 5.5, y + 4, darker(second, 0.3))


def _flasks(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    for x, liquid in ((8, (90, 200, 90)), (56, (230, 110, 190))):
        y = rng.uniform(24, 34)
        canvas.box(x - 1.8, y - 14, x + 1.8, y, lighter(second, 0.7))
        canvas.polygon([(x - 1.8, y - 4), (x + 1.8, y - 4), (x + 7.5, y + 10), (x - 7.5, y + 10)], lighter(second, 0.7))
        canvas.polygon([(x - 4, y + 2), (x + 4, y + 2), (x + 7.5, y + 10), (x - 7.5, y + 10)], liquid)
    canvas.box(0, 46, SIZE, 49, second)


def _dots(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    for _ in range(26):
        x, y, radius = rng.uniform(0, SIZE), rng.uniform(0, SIZE), rng.uniform(1.2, 3)
        canvas.ellipse((x, y), (radius, radius), mix(first, second, rng.uniform(0.5, 1)))


def _code(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    for row in range(13):
        for x in (rng.uniform(1, 6), rng.uniform(40, 46)):
            canvas.box(x, row * 5 + 2, x + rng.uniform(6, 17), row * 5 + 4, second)


def _diagonals(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    shift = rng.uniform(0, 18)
    for k in range(-5, 6):
        x = k * 18 + shift
        canvas.polygon([(x, 0), (x + 7, 0), (x + 7 + SIZE, SIZE), (x + SIZE, SIZE)], second)


def _portholes(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(lighter(first, 0.55))
    y = rng.uniform(20, 27)
    for x in (7, 57):
        canvas.ellipse((x, y), (8.5, 11), first)
        canvas.ellipse((x, y), (6.5, 9), second)


def _bolts(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    for x in (7, 56):
        y = rng.uniform(14, 26)
        canvas.polygon(
            [(x + 3, y - 12), (x - 6, y + 2), (x - 1, y + 2), (x - 3, y + 14), (x + 6, y - 2), (x + 1, y - 2)], second
        )


def _mirrors(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    y = rng.uniform(20, 26)
    for x in (8, 56):
        canvas.ellipse((x, y), (10, 17), (210, 170, 80))
        canvas.ellipse((x, y), (8, 15), second)
        canvas.line([(x - 4, y + 6), (x + 4, y - 6)], 1.4, lighter(second, 0.8))


def _sea(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    horizon = rng.uniform(26, 32)
    canvas.box(0, horizon, SIZE, SIZE, second)
    for row in range(5):
        for k in range(-1, 6):
            x, y = k * 13 + 6 * (row % 2) + rng.uniform(-2, 2), horizon + 4 + row * 7
            canvas.arch((x, y), (5, 2.2), 180, end=360, width=1.3, color=lighter(second, 0.65))


def _windows(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    y = rng.uniform(4, 9)
    for x in (1, 47):
        canvas.box(x, y, x + 16, y + 28, (250, 250, 248))
        canvas.box(x + 1.6, y + 1.6, x + 14.4, y + 26.4, second)
        canvas.box(x + 7, y, x + 9, y + 28, (250, 250, 248))
        canvas.box(x, y + 13, x + 16, y + 15, (250, 250, 248))


def _rocks(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    for i in range(5):
        for j in range(5):
            x, y, radius = i * 15 + rng.uniform(-3, 6), j * 15 + rng.uniform(-3, 6), rng.uniform(5, 7)
            angles = np.arange(6) * np.pi / 3 + rng.uniform(0, 1)
            color = mix(first, second, rng.uniform(0.2, 0.75))
            canvas.polygon([(x + radius * np.cos(a), y + radius * np.sin(a)) for a in angles], color)


def _fabric(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    rolls = (second, (244, 208, 66), (58, 104, 186), (240, 240, 236))
    shift = rng.integers(len(rolls))
    for k in range(8):
        color = rolls[(k + shift) % len(rolls)]
        canvas.box(0, k * 8, SIZE, k * 8 + 6.8, color)
        canvas.box(0, k * 8 + 1, SIZE, k * 8 + 2.4, lighter(color, 0.4))


def _columns(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(second)
    shift = rng.uniform(-3, 3)
    for x in (7 + shift, 57 + shift):
        canvas.box(x - 6, 8, x + 6, SIZE, first)
        for dx in (-3, 0, 3):
            canvas.box(x + dx - 0.5, 10, x + dx + 0.5, SIZE, mix(first, second, 0.6))
        canvas.box(x - 8, 5, x + 8, 9, first)
    canvas.box(0, 0, SIZE, 5, first)


def _paws(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    for i in range(4):
        for j in range(4):
            x, y = i * 19 + 3 + 4 * (j % 2) + rng.uniform(-1, 1), j * 18 + 6 + rng.uniform(-1, 1)
            canvas.ellipse((x, y), (3.2, 2.6), second)
            for dx, dy in ((-3.4, -3), (-1.2, -4.6), (1.2, -4.6), (3.4, -3)):
                canvas.ellipse((x + dx, y + dy), (1.1, 1.4), second)


def _hedge(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill((150, 205, 235))
    for layer, color in enumerate((darker(first, 0.3), first, mix(first, second, 0.4))):
        for k in range(9):
            x, y = k * 8 + rng.uniform(-3, 3), 14 + layer * 9 + rng.uniform(-3, 3)
            canvas.ellipse((x, y), (8, 8), color)
        canvas.box(0, 16 + layer * 9, SIZE, SIZE, color)


def _curtain(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    shift = rng.uniform(0, 9)
    for k in range(-1, 8):
        x = k * 9 + shift
        canvas.box(x, 0, x + 3.6, SIZE, second)
        canvas.box(x + 5.4, 0, x + 6.8, SIZE, darker(first, 0.45))


def _court(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    y = rng.uniform(28, 36)
    canvas.box(0, y, SIZE, y + 2.4, second)
    canvas.box(6, 0, 8.4, SIZE, second)
    canvas.box(55, 0, 57.4, SIZE, second)


BACKDROPS: dict[str, Painter] = {
    "blinds": _blinds,
    "bolts": _bolts,
    "bricks": _bricks,
    "chalkboard": _chalkboard,
    "checker": _checker,
    "code": _code,
    "columns": _columns,
    "court": _court,
    "curtain": _curtain,
    "diagonals": _diagonals,
    "dots": _dots,
    "fabric": _fabric,
    "field": _field,
    "flames": _flames,
    "flasks": _flasks,
    "flowers": _flowers,
    "hedge": _hedge,
    "lights": _lights,
    "mirrors": _mirrors,
    "paws": _paws,
    "pipes": _pipes,
    "plain": _plain,
    "planks": _planks,
    "portholes": _portholes,
    "rocks": _rocks,
    "sea": _sea,
    "shelves": _shelves,
    "sky": _sky,
    "spotlights": _spotlights,
    "stars": _stars,
    "tiles": _tiles,
    "windows": _windows,
}
