"""Faces and hair: how the classes gender, skin tone and age, and what varies within a class, look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fairlit_miniature.canvas import Canvas, Color, Point, darker, lighter, mix

# Middle of each band; the bands stay apart because shades vary less than half their distance.
SKIN: dict[str, Color] = {
    "light": (246, 214, 192),
    "tan": (214, 164, 120),
    "brown": (154, 100, 66),
    "dark": (92, 58, 44),
}
YOUNG_HAIR: tuple[Color, ...] = ((28, 24, 24), (58, 38, 28), (104, 66, 38), (206, 164, 92), (156, 70, 36))
OLD_HAIR: tuple[Color, ...] = ((232, 232, 230), (202, 204, 208), (176, 178, 184))
EYES: tuple[Color, ...] = ((70, 44, 28), (50, 34, 24), (70, 110, 160), (80, 120, 80))
LIPS: tuple[Color, ...] = ((200, 48, 70), (214, 70, 96), (176, 36, 56))


@dataclass(frozen=True)
class Head:
    """Everything that fixes one drawn head. Lengths are in head coordinates (a face is about 22 x 30)."""

    female: bool
    old: bool
    skin: Color
    hair: Color
    style: str
    beard: str
    lips: Color
    eyes: Color
    width: float
    jaw: float
    eye_height: float
    brow: float
    smile: float
    glasses: bool
    earrings: bool


def sample_head(rng: np.random.Generator, labels: Mapping[str, str]) -> Head:
    """Draws a head of the given classes.

    Args:
        rng: the source of what varies within a class.
        labels: attribute -> class, for gender, skin_tone and age.
    """
    female, old = labels["gender"] == "female", labels["age"] == "old"
    base = SKIN[labels["skin_tone"]]
    shade = mix(base, (255, 225, 200) if rng.random() < 0.5 else (60, 30, 20), rng.uniform(0, 0.07))
    light = labels["skin_tone"] in ("light", "tan")
    hairs = OLD_HAIR if old else YOUNG_HAIR if light else YOUNG_HAIR[:2]
    if female:
        style = ("long", "long", "wavy", "bob", "curly", "tails")[rng.integers(6)]
    else:
        style = ("short", "side", "crew")[rng.integers(3)] if not old or rng.random() < 0.4 else "receding"
    beard = "none" if female or rng.random() < 0.5 else ("full", "moustache", "stubble")[rng.integers(3)]
    return Head(
        female=female,
        old=old,
        skin=shade,
        hair=mix(hairs[rng.integers(len(hairs))], (120, 90, 60), 0.0 if old else rng.uniform(0, 0.15)),
        style=style,
        beard=beard,
        lips=LIPS[rng.integers(3)] if female else mix(darker(shade, 0.22), (170, 70, 70), 0.3),
        eyes=EYES[rng.integers(4 if light else 2)],
        width=rng.uniform(10.4, 11.2) if female else rng.uniform(11.0, 11.9),
        jaw=rng.uniform(1.75, 2.0) if female else rng.uniform(2.35, 2.8),
        eye_height=rng.uniform(1.35, 1.75) * (1.08 if female else 0.95),
        brow=rng.uniform(0.6, 0.8) if female else rng.uniform(1.25, 1.6),
        smile=rng.uniform(0.1, 1.5),
        glasses=bool(rng.random() < (0.45 if old else 0.08)),
        earrings=bool(female and rng.random() < 0.5),
    )


def _outline(head: Head, inset: float = 0.0) -> list[Point]:
    """The face's contour: a superellipse, squarer below for a broad jaw."""
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    points = []
    for c, s in zip(np.cos(angles), np.sin(angles), strict=True):
        power = head.jaw if s > 0 else 2.1
        radius = (abs(c) ** power + abs(s) ** power) ** (-1.0 / power)
        points.append(((head.width - inset) * radius * c, 0.5 + (15.0 - inset) * radius * s))
    return points


def draw_back_hair(canvas: Canvas, head: Head) -> None:
    """What hangs behind neck and shoulders; drawn before the clothes."""
    shadow = darker(head.hair, 0.25)
    if head.style in ("long", "wavy"):
        canvas.ellipse((0, -1), (14.5, 16.5), shadow)
        canvas.polygon([(-14.4, -2), (-16.5, 16), (-15, 29), (15, 29), (16.5, 16), (14.4, -2)], shadow)
        if head.style == "wavy":
            for y in (4, 11, 18, 25):
                for side in (-1, 1):
                    canvas.ellipse((side * 14.5, y), (3.4, 4.2), shadow)
    elif head.style == "bob":
        canvas.ellipse((0, -1), (14.2, 16.2), shadow)
        canvas.polygon([(-14.2, -2), (-15.4, 13), (15.4, 13), (14.2, -2)], shadow)
    elif head.style == "curly":
        for angle in np.linspace(0.75 * np.pi, 2.25 * np.pi, 15):
            canvas.ellipse((13 * np.cos(angle), 0 + 14 * np.sin(angle)), (5.2, 5.2), shadow)
    elif head.style == "tails":
        canvas.ellipse((0, -1.5), (12.8, 15.8), shadow)
        for side in (-1, 1):
            canvas.ellipse((side * 15.5, 10), (4.4, 11), shadow)
    else:
        canvas.ellipse((0, -3.2), (head.width + 1.1, 14.0), shadow)


def _draw_front_hair(canvas: Canvas, head: Head) -> None:
    """The hair between the crown and the hairline, down to the temples."""
    female = head.female
    outer_x, outer_y = head.width + (2.4 if female else 1.3), 16.2 if female else 15.6
    temple = 3.0 if female else -2.5
    line, skew = {"bob": (-7.0, 0.0), "side": (-9.5, 3.0), "crew": (-10.4, 0.0), "long": (-9.0, 2.0)}.get(
        head.style, (-9.2, 0.5)
    )
    if head.style == "receding":
        for side in (-1, 1):
            canvas.ellipse((side * (head.width + 0.2), -4.5), (2.0, 5.2), head.hair)
        canvas.arch((0, 0), (head.width + 0.2, 14.8), 205, end=250, width=1.6, color=head.hair)
        canvas.arch((0, 0), (head.width + 0.2, 14.8), 290, end=335, width=1.6, color=head.hair)
        return
    start = np.arcsin(np.clip((temple + 1.0) / outer_y, -1, 1))
    angles = np.linspace(np.pi - start, 2 * np.pi + start, 28)
    crown = [(outer_x * np.cos(a), -1.0 + outer_y * np.sin(a)) for a in angles]
    edge = head.width - (0.4 if female else 0.9)
    hairline = [
        (x, temple + (line - temple) * (1 - abs((x + skew * (1 - abs(x) / edge)) / edge) ** 2.6))
        for x in np.linspace(edge, -edge, 17)
    ]
    canvas.polygon(crown + hairline, head.hair)
    canvas.arch((-1, -1), (outer_x * 0.72, outer_y * 0.82), 215, end=300, width=1.3, color=lighter(head.hair, 0.22))
    if head.style == "curly":
        for angle in np.linspace(1.05 * np.pi, 1.95 * np.pi, 9):
            canvas.ellipse((12 * np.cos(angle), 1 + 14.5 * np.sin(angle)), (3.6, 3.6), head.hair)


def _draw_eyes(canvas: Canvas, head: Head) -> None:
    lid, tall = darker(head.skin, 0.62), head.eye_height
    brow = mix(darker(head.hair, 0.25), darker(head.skin, 0.5), 0.3) if not head.old else darker(head.hair, 0.2)
    for side in (-1, 1):
        x, y = side * 4.8, -1.0
        canvas.ellipse((x, y - 0.3), (3.3, tall + 0.9), darker(head.skin, 0.2))
        canvas.ellipse((x, y), (2.5, tall), (246, 244, 240))
        canvas.ellipse((x, y), (1.35, min(1.35, tall)), head.eyes)
        canvas.ellipse((x, y), (0.7, 0.7), (12, 10, 10))
        canvas.ellipse((x - 0.5, y - 0.5), (0.35, 0.35), (255, 255, 255))
        canvas.arch(
            (x, y),
            (2.6, tall + 0.1),
            190,
            end=350,
            width=1.1 if head.female else 0.7,
            color=(20, 14, 14) if head.female else lid,
        )
        if head.female:
            canvas.line([(x + side * 2.3, y - 0.7), (x + side * 3.7, y - 1.7)], 0.7, (20, 14, 14))
        canvas.arch((x, y - 1.6), (3.4, 2.6), 205, end=335, width=head.brow, color=brow)
        if head.old:
            canvas.arch((x, y + 1.2), (2.8, 1.8), 20, end=160, width=0.5, color=darker(head.skin, 0.32))
            for dy in (-0.9, 0.2, 1.3):
                canvas.line(
                    [(x + side * 3.4, y + dy * 0.6), (x + side * 5.2, y + dy * 1.5)], 0.35, darker(head.skin, 0.3)
                )


def _draw_nose_and_mouth(canvas: Canvas, head: Head) -> None:
    shadow, deep = darker(head.skin, 0.2), darker(head.skin, 0.5)
    canvas.polygon([(0.4, -2), (2.3, 4.2), (0.8, 5.0)], shadow)
    canvas.line([(-0.4, -1), (-0.3, 4.0)], 0.9, lighter(head.skin, 0.22))
    canvas.ellipse((0, 4.5), (2.1, 1.1), mix(head.skin, shadow, 0.4))
    for side in (-1, 1):
        canvas.ellipse((side * 1.3, 5.0), (0.65, 0.45), deep)
    smile, wide = head.smile, 4.0 if head.female else 4.3
    canvas.polygon(
        [(-wide, 8.8 - smile * 0.5), (-1, 7.9), (0, 8.3), (1, 7.9), (wide, 8.8 - smile * 0.5), (0, 9.7)], head.lips
    )
    full = 1.5 if head.female else 0.9
    canvas.polygon(
        [(-wide, 8.8 - smile * 0.5), (0, 9.3), (wide, 8.8 - smile * 0.5), (1.8, 10.0 + full), (-1.8, 10.0 + full)],
        lighter(head.lips, 0.12),
    )
    canvas.line(
        [(-wide, 8.8 - smile * 0.5), (-1.6, 9.3), (1.6, 9.3), (wide, 8.8 - smile * 0.5)], 0.55, darker(head.lips, 0.6)
    )
    if head.old:
        crease = darker(head.skin, 0.3)
        for side in (-1, 1):
            canvas.line([(side * 2.6, 4.4), (side * 4.9, 7.0), (side * 5.2, 9.4)], 0.6, crease)
        for y in (-8.2, -6.6, -5.2):
            canvas.line([(-4.5, y), (0, y - 0.5), (4.5, y)], 0.45, crease)


def _draw_beard(canvas: Canvas, head: Head) -> None:
    color = head.hair if head.old else darker(head.hair, 0.15)
    if head.beard == "stubble":
        color = mix(head.skin, darker(head.hair, 0.2), 0.38)
    if head.beard in ("full", "stubble"):
        contour = [(x, y) for x, y in _outline(head) if y > 3.0]
        contour.sort()
        inner = [(head.width * 0.62, 5.5), (4.6, 7.0), (0, 6.6), (-4.6, 7.0), (-head.width * 0.62, 5.5)]
        canvas.polygon(contour + inner, color)
        canvas.ellipse((0, 9.4), (4.8, 2.0), mix(head.skin, color, 0.5))
    elif head.beard == "moustache":
        canvas.polygon([(-5.2, 8.4), (-3, 6.2), (0, 6.7), (3, 6.2), (5.2, 8.4), (0, 7.9)], color)


def _draw_glasses(canvas: Canvas) -> None:
    frame = (36, 32, 36)
    for side in (-1, 1):
        canvas.arch((side * 4.9, -0.8), (3.9, 3.2), 0, end=360, width=0.75, color=frame)
        canvas.line([(side * 8.6, -1.2), (side * 11, -1.8)], 0.75, frame)
    canvas.arch((0, -0.8), (1.3, 0.9), 190, end=350, width=0.75, color=frame)


def draw_neck(canvas: Canvas, head: Head) -> None:
    """Neck and the skin of the shoulders; drawn before the clothes."""
    half = 5.6 if head.female else 7.4
    canvas.polygon(
        [(-half, 8), (-half, 18), (-17, 23), (-20, 90), (20, 90), (17, 23), (half, 18), (half, 8)], head.skin
    )
    canvas.polygon([(-half, 10), (half, 10), (half, 16.5), (0, 19.5), (-half, 16.5)], darker(head.skin, 0.28))


def draw_face(canvas: Canvas, head: Head) -> None:
    """Ears, face, features, beard, glasses and the hair in front."""
    for side in (-1, 1):
        canvas.ellipse((side * (head.width + 0.3), 0.5), (1.7, 3.2), darker(head.skin, 0.14))
    canvas.polygon(_outline(head), darker(head.skin, 0.12))
    canvas.polygon(_outline(head, 0.8), head.skin)
    for side in (-1, 1):
        canvas.ellipse((side * 5.8, 5.0), (2.8, 2.0), mix(head.skin, (226, 96, 90), 0.16 if head.female else 0.08))
    _draw_beard(canvas, head)
    _draw_nose_and_mouth(canvas, head)
    _draw_eyes(canvas, head)
    _draw_front_hair(canvas, head)
    if head.earrings:
        for side in (-1, 1):
            canvas.ellipse((side * (head.width + 0.8), 5.2), (1.1, 1.5), (246, 208, 84))
    if head.glasses:
        _draw_glasses(canvas)
