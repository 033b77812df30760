"""A supersampled PIL canvas with its origin at a head's centre, so that people of any size share one drawing code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

SIZE = 64
SUPERSAMPLING = 6

Color = tuple[int, int, int]
Point = tuple[float, float]


def mix(first: Color, second: Color, share: float) -> Color:
    """`first` with `share` of `second` in it; share below 0 or above 1 extrapolates, the result stays in 0-255."""
    values = [round(min(255.0, max(0.0, a + share * (b - a)))) for a, b in zip(first, second, strict=True)]
    return (values[0], values[1], values[2])


def darker(color: Color, share: float) -> Color:
    """`color` mixed with black."""
    return mix(color, (0, 0, 0), share)


def lighter(color: Color, share: float) -> Color:
    """`color` mixed with white."""
    return mix(color, (255, 255, 255), share)


class Canvas:
    """Draws shapes given in picture pixels (64 high) onto an image `SUPERSAMPLING` times as large.

    `origin` and `scale` place what is drawn next: a point p lands at origin + scale * p.

    Args:
        width: of the picture in pixels, 64 or more.
    """

    def __init__(self, width: int = SIZE) -> None:
        self.width = width
        self.image = Image.new("RGB", (width * SUPERSAMPLING, SIZE * SUPERSAMPLING))
        self.draw = ImageDraw.Draw(self.image)
        self.origin: Point = (0.0, 0.0)
        self.scale = 1.0

    def place(self, origin: Point, scale: float) -> None:
        """Moves the coordinate system."""
        self.origin, self.scale = origin, scale

    def mirror_margins(self) -> None:
        """Fills what lies left and right of the middle square with the mirrored square."""
        margin = (self.width - SIZE) // 2 * SUPERSAMPLING
        if margin:
            pixels = np.asarray(self.image)
            square = pixels[:, margin : margin + SIZE * SUPERSAMPLING]
            self.image = Image.fromarray(np.pad(square, ((0, 0), (margin, margin), (0, 0)), mode="symmetric"))
            self.draw = ImageDraw.Draw(self.image)

    def _xy(self, points: Sequence[Point]) -> list[Point]:
        (ox, oy), factor = self.origin, self.scale
        return [((ox + factor * x) * SUPERSAMPLING, (oy + factor * y) * SUPERSAMPLING) for x, y in points]

    def polygon(self, points: Sequence[Point], color: Color) -> None:
        """Fills a polygon."""
        self.draw.polygon(self._xy(points), fill=color)

    def ellipse(self, center: Point, radii: Point, color: Color) -> None:
        """Fills an axis-parallel ellipse."""
        (x, y), (rx, ry) = center, radii
        self.draw.ellipse([*self._xy([(x - rx, y - ry)])[0], *self._xy([(x + rx, y + ry)])[0]], fill=color)

    def box(self, left: float, top: float, right: float, bottom: float, color: Color) -> None:
        """Fills a rectangle."""
        self.draw.rectangle([*self._xy([(left, top)])[0], *self._xy([(right, bottom)])[0]], fill=color)

    def fill(self, color: Color) -> None:
        """Fills the square of a picture, before anything else is placed."""
        self.box(0, 0, SIZE, SIZE, color)

    def line(self, points: Sequence[Point], width: float, color: Color) -> None:
        """Draws a polyline with rounded joints."""
        self.draw.line(
            self._xy(points), fill=color, width=max(1, round(width * self.scale * SUPERSAMPLING)), joint="curve"
        )

    def arch(self, center: Point, radii: Point, start: float, *, end: float, width: float, color: Color) -> None:
        """Draws a part of an ellipse's outline; degrees, clockwise from the right as in PIL."""
        angles = np.radians(np.linspace(start, end, 12))
        self.line([(center[0] + radii[0] * np.cos(a), center[1] + radii[1] * np.sin(a)) for a in angles], width, color)

    def pixels(self) -> np.ndarray:
        """The picture, float32 [64, width, 3] in 0-1, averaged over the supersamples."""
        return np.asarray(self.image.reduce(SUPERSAMPLING), dtype=np.float32) / 255.0
