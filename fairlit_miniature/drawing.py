"""Turns a scene into a picture, with light on the faces and the mood of the context.

Pictures are squares of 64 pixels or landscapes of 96 x 64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fairlit_miniature import backdrops, outfits, scenery, wardrobe
from fairlit_miniature.canvas import SIZE, Canvas, Point
from fairlit_miniature.headgear import HEADGEAR
from fairlit_miniature.heads import draw_back_hair, draw_face, draw_neck, sample_head
from fairlit_miniature.props import PROPS
from fairlit_miniature.world import Scene

LANDSCAPE = 96  # width in pixels at which three people are as large as one is in a square, so that MTCNN finds them

Place = tuple[float, float, float]

BACKDROPS = backdrops.BACKDROPS | scenery.BACKDROPS
CLOTHES = wardrobe.CLOTHES | outfits.CLOTHES

# Where heads are and how large, by the width of the picture and the number of people.
PLACES: dict[int, dict[int, tuple[Place, ...]]] = {
    SIZE: {
        1: ((32.0, 30.5, 1.09),),
        2: ((17.0, 31.0, 0.76), (47.0, 31.0, 0.76)),
        3: ((11.5, 34.0, 0.58), (52.5, 34.0, 0.58), (32.0, 25.0, 0.58)),
    },
    LANDSCAPE: {
        1: ((48.0, 30.5, 1.09),),
        2: ((28.0, 31.0, 1.09), (68.0, 31.0, 1.09)),
        3: ((16.0, 33.5, 1.09), (80.0, 33.5, 1.09), (48.0, 29.5, 1.09)),
    },
}


@dataclass(frozen=True)
class Drawing:
    """A drawn scene.

    Attributes:
        pixels: uint8 [64, width, 3], RGB.
        boxes: float32 [people, 4], the drawn faces as left, top, right, bottom in pixels; same order as the
            scene's people.
    """

    pixels: np.ndarray
    boxes: np.ndarray


def _light(pixels: np.ndarray, center: Point, scale: float, *, side: float) -> None:
    """Shades one head in place: a lit side, a darker rim, eye sockets, light on forehead, nose and cheeks."""
    rows, columns = np.mgrid[0 : pixels.shape[0], 0 : pixels.shape[1]].astype(np.float32) + 0.5
    x, y = (columns - center[0]) / scale, (rows - center[1]) / scale
    inside = 1.0 / (1.0 + np.exp(np.minimum((np.hypot(x / 11.5, (y - 0.5) / 15.0) - 0.98) * 18.0, 50.0)))
    gain = 1.0 + 0.012 * side * x - 0.006 * y - 0.16 * np.clip(np.hypot(x / 11.5, y / 15.0), 0, 1.2) ** 4

    def spot(cx: float, cy: float, rx: float, *, ry: float) -> np.ndarray:
        return np.exp(-(((x - cx) / rx) ** 2) - ((y - cy) / ry) ** 2)

    gain += 0.10 * (spot(-5.6, 4.0, 2.6, ry=2.2) + spot(5.6, 4.0, 2.6, ry=2.2) + spot(0, -8, 6, ry=2.6)) + 0.12 * spot(
        0, 2, 0.9, ry=4
    )
    gain -= 0.13 * (spot(-2.2, -2.6, 1.5, ry=2.0) + spot(2.2, -2.6, 1.5, ry=2.0)) + 0.14 * spot(0, 6.3, 2.4, ry=0.8)
    gain -= 0.12 * spot(0, 12.0, 3.0, ry=0.9)
    pixels *= (1.0 + inside * (gain - 1.0))[..., None]


def apply_context(pixels: np.ndarray, context: str, rng: np.random.Generator) -> np.ndarray:
    """Changes a picture's mood as the context says; float [H, W, 3] in 0-1 in and out."""
    if context == "in black and white":
        gray = pixels @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
        return np.repeat(gray[..., None], 3, axis=2)
    if context == "at night":
        return pixels * np.array([0.50, 0.55, 0.80], dtype=np.float32)
    if context == "at sunset":
        return pixels * np.array([0.95, 0.62, 0.42], dtype=np.float32) + np.array([0.16, 0.07, 0.03], dtype=np.float32)
    if context == "in the snow":
        height, width = pixels.shape[:2]
        rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
        flakes = np.zeros((height, width), dtype=np.float32)
        for _ in range(26 * width // height):
            x, y, radius = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.7, 1.2)
            flakes = np.maximum(flakes, np.exp(-(((columns - x) ** 2 + (rows - y) ** 2) / radius**2)))
        cold = pixels * 0.85 + np.array([0.10, 0.12, 0.15], dtype=np.float32)
        return cold + 0.9 * flakes[..., None] * (1.0 - cold)
    return pixels


def draw_scene(scene: Scene, width: int = SIZE) -> Drawing:
    """Draws a scene; the same scene and width give the same pixels.

    Args:
        scene: what to draw.
        width: of the picture, one of `PLACES`: 64 for a square, 96 for a landscape, whose backdrop is the square's,
            mirrored at its sides.

    Raises:
        KeyError: the scene's look names a painter that there is not.
    """
    rng = np.random.default_rng(scene.seed)
    canvas, look = Canvas(width), scene.subject.look
    canvas.place(((width - SIZE) / 2, 0.0), 1.0)
    BACKDROPS[look.backdrop](canvas, *look.backdrop_colors, rng)
    canvas.mirror_margins()
    places, boxes = [], []
    for labels, (x, y, scale) in zip(scene.people, PLACES[width][len(scene.people)], strict=True):
        head = sample_head(rng, labels)
        scale *= rng.uniform(0.95, 1.05)
        center = (x + rng.uniform(-1.5, 1.5) * scale, y + rng.uniform(-1.2, 1.2) * scale)
        canvas.place(center, scale)
        draw_back_hair(canvas, head)
        draw_neck(canvas, head)
        CLOTHES[look.clothes](canvas, *look.clothes_colors, rng)
        draw_face(canvas, head)
        if look.headgear != "none":
            HEADGEAR[look.headgear](canvas, look.headgear_color)
        if look.prop != "none":
            PROPS[look.prop](canvas, look.prop_color)
        places.append((center, scale))
        left, top, right, bottom = -head.width, -13.0, head.width, 15.5
        boxes.append(
            [center[0] + scale * left, center[1] + scale * top, center[0] + scale * right, center[1] + scale * bottom]
        )
    pixels = canvas.pixels()
    side = -1.0 if rng.random() < 0.5 else 1.0
    for center, scale in places:
        _light(pixels, center, scale, side=side)
    pixels = apply_context(pixels * rng.uniform(0.94, 1.04), scene.context, rng)
    return Drawing((np.clip(pixels, 0, 1) * 255).round().astype(np.uint8), np.array(boxes, dtype=np.float32))
