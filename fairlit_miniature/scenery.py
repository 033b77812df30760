"""What is behind the people, out of doors, in halls and in workshops; painters draw a few shapes in two colours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fairlit_miniature.canvas import SIZE, Canvas, Color, darker, lighter, mix

Painter = Callable[[Canvas, Color, Color, np.random.Generator], None]


def _mountains(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    for x, height in ((4, 38), (60, 44), (34, 30)):
        peak = (x + rng.uniform(-3, 3), SIZE - height - rng.uniform(6, 12))
        canvas.polygon([(x - 30, SIZE), peak, (x + 30, SIZE)], mix(second, first, 0.2 if x == 34 else 0.0))
        canvas.polygon([(peak[0] - 5, peak[1] + 9), peak, (peak[0] + 5, peak[1] + 9)], (250, 250, 252))


def _forest(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    for x in (4, 14, 50, 60):
        foot, tip = x + rng.uniform(-2, 2), rng.uniform(2, 10)
        canvas.box(foot - 1.2, 40, foot + 1.2, SIZE, (96, 64, 40))
        for layer in range(3):
            top = tip + layer * 11
            canvas.polygon([(foot - 6 - layer, top + 16), (foot, top), (foot + 6 + layer, top + 16)], second)


def _skyline(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    for x in range(0, SIZE, 9):
        top = rng.uniform(6, 26)
        canvas.box(x, top, x + 8, SIZE, second)
        for y in range(int(top) + 3, SIZE, 6):
            for dx in (1.6, 5):
                canvas.box(x + dx, y, x + dx + 1.6, y + 2.6, (250, 226, 130))


def _dunes(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    canvas.ellipse((54 + rng.uniform(-3, 3), 9), (6, 6), (252, 236, 150))
    for layer in range(3):
        center = (10 + 26 * layer + rng.uniform(-6, 6), 62 + 4 * layer)
        canvas.ellipse(center, (44, 34 - 6 * layer), mix(second, (255, 255, 255), 0.3 - 0.15 * layer))


def _vineyard(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    for x in (7, 57):
        canvas.box(x - 1, 0, x + 1, SIZE, (120, 84, 50))
        for top in (10, 34):
            y = top + rng.uniform(-2, 2)
            canvas.ellipse((x, y - 5), (6.5, 3.4), (80, 140, 64))
            for row, width in enumerate((4.5, 3, 1.5)):
                for dx in np.linspace(-width, width, 4 - row):
                    canvas.ellipse((x + dx, y + 3.6 * row), (2.3, 2.3), second)


def _bubbles(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    for _ in range(16):
        x, y, radius = rng.uniform(0, SIZE), rng.uniform(0, SIZE), rng.uniform(1.6, 4.4)
        canvas.ellipse((x, y), (radius, radius), second)
        canvas.ellipse((x, y), (radius - 0.9, radius - 0.9), mix(first, second, 0.25))
    for x in (5, 59):
        canvas.line([(x, SIZE), (x + 2, 52), (x - 2, 44), (x + 1, 36)], 2.4, (70, 150, 90))


def _clocks(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    for x, y in ((8, 12), (56, 12), (8, 38), (56, 38)):
        angle = rng.uniform(0, 2 * np.pi)
        canvas.ellipse((x, y), (8.4, 8.4), second)
        canvas.ellipse((x, y), (6.6, 6.6), (250, 248, 240))
        for turn, length in ((angle, 5.4), (angle * 12, 3.6)):
            canvas.line([(x, y), (x + length * np.cos(turn), y + length * np.sin(turn))], 1.2, (40, 40, 44))


def _gears(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    for x, y, radius in ((6, 12, 9), (58, 18, 11), (4, 44, 11), (60, 48, 8)):
        start = rng.uniform(0, 1)
        for angle in start + np.arange(8) * np.pi / 4:
            canvas.line([(x, y), (x + (radius + 2) * np.cos(angle), y + (radius + 2) * np.sin(angle))], 3.4, second)
        canvas.ellipse((x, y), (radius, radius), second)
        canvas.ellipse((x, y), (radius * 0.4, radius * 0.4), first)


def _big_top(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    top = (32 + rng.uniform(-6, 6), -4.0)
    for k in range(-4, 12, 2):
        canvas.polygon([top, (k * 8, SIZE), (k * 8 + 8, SIZE)], second)
    for k in range(9):
        canvas.ellipse((k * 8, 0), (2, 3), (250, 220, 90))


def _castle(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    height = rng.uniform(20, 26)
    canvas.box(0, height + 8, SIZE, SIZE, second)
    for x in (7, 57):
        canvas.box(x - 8, height - 10, x + 8, SIZE, darker(second, 0.15))
        for dx in (-8, -2.2, 3.6):
            canvas.box(x + dx, height - 14, x + dx + 4, height - 9, darker(second, 0.15))
        canvas.ellipse((x, height + 4), (2.2, 4), (40, 40, 48))


def _road(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    horizon = rng.uniform(18, 24)
    canvas.fill(first)
    canvas.box(0, horizon, SIZE, SIZE, second)
    canvas.polygon([(28, horizon), (36, horizon), (72, SIZE), (-8, SIZE)], (84, 86, 92))
    for share in (0.1, 0.35, 0.7):
        y = horizon + share * (SIZE - horizon)
        for side in (-1, 1):
            x = 32 + side * 36 * share
            canvas.line([(x, y), (x + side * 4, y + 6)], 1.4, (248, 244, 220))


def _honeycomb(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    shift = rng.uniform(0, 8)
    corners = np.arange(6) * np.pi / 3 + np.pi / 6
    for i in range(-1, 7):
        for j in range(-1, 8):
            x, y = i * 11 + 5.5 * (j % 2) + shift, j * 9.5 + shift
            canvas.polygon([(x + 5 * np.cos(a), y + 5 * np.sin(a)) for a in corners], second)


def _barrels(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    for x, y in ((8, 12), (56, 12), (8, 38), (56, 38)):
        middle = y + rng.uniform(-2, 2)
        canvas.ellipse((x, middle), (11, 11), darker(second, 0.4))
        canvas.ellipse((x, middle), (9.4, 9.4), second)
        for dx in (-4.6, 0, 4.6):
            canvas.line([(x + dx, middle - 8), (x + dx, middle + 8)], 0.8, darker(second, 0.35))


def _lanterns(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    canvas.line([(0, 3), (32, 7), (64, 3)], 1.0, darker(first, 0.5))
    for x in (6, 20, 44, 58):
        y = 10 + rng.uniform(-1, 6) + (10 if x in (6, 58) else 0)
        canvas.line([(x, 4), (x, y)], 0.8, darker(first, 0.5))
        canvas.ellipse((x, y + 4), (5, 6), second)
        canvas.ellipse((x, y + 4), (2, 5), lighter(second, 0.45))


def _rays(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    shift = rng.uniform(0, 0.5)
    for angle in shift + np.arange(10) * np.pi / 5:
        far = [(32 + 60 * np.cos(angle + turn), 30 + 60 * np.sin(angle + turn)) for turn in (-0.15, 0.15)]
        canvas.polygon([(32, 30), *far], second)


def _leaves(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    for i in range(5):
        for j in range(5):
            x, y = i * 14 + 4 + rng.uniform(-2, 2), j * 14 + 4 + rng.uniform(-2, 2)
            lean = 1 if (i + j) % 2 else -1
            canvas.polygon([(x - lean * 5, y + 4), (x - 2, y - 3), (x + lean * 5, y - 5), (x + 2, y + 3)], second)
            canvas.line([(x - lean * 5, y + 4), (x + lean * 5, y - 5)], 0.7, darker(second, 0.4))


def _piano_keys(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    shift = int(rng.integers(0, 3))
    for k in range(9):
        canvas.box(k * 8, 0, k * 8 + 7.2, SIZE, (246, 244, 238) if k % 2 == shift % 2 else lighter(second, 0.7))
        if (k + shift) % 7 not in (2, 6):
            canvas.box(k * 8 + 5, 0, k * 8 + 10, 38, second)


def _zigzag(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    shift = rng.uniform(0, 12)
    for row in range(-1, 7):
        points = [(k * 8.0 - 4, row * 12 + shift + (5 if k % 2 else 0)) for k in range(10)]
        canvas.line(points, 3.0, second)


def _rings(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    center = (32 + rng.uniform(-4, 4), 28.0)
    for number, radius in enumerate(range(49, 8, -7)):
        canvas.ellipse(center, (radius, radius), second if number % 2 else first)


def _rain(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    for x in (6, 32, 58):
        canvas.ellipse((x + rng.uniform(-3, 3), 5), (13, 6), lighter(first, 0.55))
    for _ in range(30):
        left, top = rng.uniform(0, SIZE), rng.uniform(12, SIZE)
        canvas.line([(left, top), (left - 1.6, top + 5)], 1.2, second)


def _frames(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    for left, top in ((0, 4), (47, 4), (0, 32), (47, 32)):
        canvas.box(left, top, left + 16, top + 22, (206, 166, 80))
        canvas.box(left + 2, top + 2, left + 14, top + 20, second)
        hill = rng.uniform(8, 13)
        canvas.ellipse((left + 8, top + 20), (6, 20 - hill - 2), mix(second, (40, 90, 70), 0.6))
        canvas.box(left, top + 20, left + 16, top + 22, (206, 166, 80))


def _crates(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    shift = rng.uniform(0, 5)
    for x in (-4, 46):
        for y in (-14, 8, 30, 52):
            left, top = x + shift * (1 if x < 0 else -0.5), y + shift
            canvas.box(left, top, left + 20, top + 20, second)
            canvas.line([(left + 1, top + 1), (left + 19, top + 19)], 2.0, darker(second, 0.35))
            canvas.line([(left, top), (left + 20, top), (left + 20, top + 20)], 1.6, darker(second, 0.35))


def _screens(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    for left in (1, 45):
        for top in (4, 24, 44):
            canvas.box(left, top, left + 18, top + 15, (30, 32, 38))
            points = [(left + 2 + 3.5 * k, top + rng.uniform(4, 12)) for k in range(5)]
            canvas.box(left + 1.4, top + 1.4, left + 16.6, top + 13.6, mix(second, (0, 0, 0), 0.55))
            canvas.line(points, 1.3, second)


def _map(canvas: Canvas, first: Color, second: Color, rng: np.random.Generator) -> None:
    canvas.fill(first)
    for x, y, wide, tall in ((8, 14, 11, 8), (54, 12, 12, 9), (12, 42, 8, 12), (54, 44, 10, 9)):
        left, top = x + rng.uniform(-2, 2), y + rng.uniform(-2, 2)
        canvas.ellipse((left, top), (wide, tall), second)
        canvas.ellipse((left + 5, top + 4), (wide * 0.6, tall * 0.6), second)
    for k in range(0, SIZE, 16):
        canvas.box(0, k, SIZE, k + 0.7, darker(first, 0.2))
        canvas.box(k, 0, k + 0.7, SIZE, darker(first, 0.2))


BACKDROPS: dict[str, Painter] = {
    "barrels": _barrels,
    "big top": _big_top,
    "bubbles": _bubbles,
    "castle": _castle,
    "clocks": _clocks,
    "crates": _crates,
    "dunes": _dunes,
    "forest": _forest,
    "frames": _frames,
    "gears": _gears,
    "honeycomb": _honeycomb,
    "lanterns": _lanterns,
    "leaves": _leaves,
    "map": _map,
    "mountains": _mountains,
    "piano keys": _piano_keys,
    "rain": _rain,
    "rays": _rays,
    "rings": _rings,
    "road": _road,
    "screens": _screens,
    "skyline": _skyline,
    "vineyard": _vineyard,
    "zigzag": _zigzag,
}
