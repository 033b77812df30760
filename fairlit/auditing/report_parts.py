"""What reports are made of: tiles of images, charts and table cells, ready for the templates.

Templates escape every text; nothing here is marked as safe.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from fairlit.io.wording import counted
from fairlit.judging.observations import Seen
from fairlit.pictures.chart_forms import Chart
from fairlit.pictures.colours import web_colour
from fairlit.pictures.files import read_image
from fairlit.results.figures import JOINT, OUTCOMES

Classes = Mapping[str, Sequence[str]]

_SIDE = 176  # of a tile's picture in pixels: sharp at its size on high-resolution screens


@dataclass(frozen=True)
class Box:
    """The frame of a face, in per cent of the picture's sides.

    Attributes:
        left: distance from the left edge.
        top: distance from the upper edge.
        width: width of the frame.
        height: height of the frame.
    """

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class BarPart:
    """What one face adds to the bar of an attribute.

    Attributes:
        label: perceived class.
        share: probability of that class.
        colour: colour of the class.
    """

    label: str
    share: float
    colour: str


@dataclass(frozen=True)
class Bar:
    """The bar of an attribute below a picture.

    Attributes:
        attribute: name of the attribute.
        parts: one part a face, from left to right.
    """

    attribute: str
    parts: Sequence[BarPart]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One picture of a report.

    Attributes:
        file: name of its file.
        source: the picture as a data URI.
        width: width in pixels.
        height: height in pixels.
        boxes: frames of its faces.
        bars: one bar an attribute.
    """

    file: str
    source: str
    width: int
    height: int
    boxes: Sequence[Box]
    bars: Sequence[Bar]


@dataclass(frozen=True)
class LegendEntry:
    """One line of a legend.

    Attributes:
        attribute: name of the attribute.
        classes: names of its classes with their colours.
    """

    attribute: str
    classes: Sequence[tuple[str, str]]


def render(template: str, **content: Any) -> str:
    """Return a page from a template of this package; everything that is put in is escaped."""
    return _environment().get_template(template).render(**content)


@cache
def _environment() -> jinja2.Environment:
    """What templates are compiled with, once a process."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "counted": counted,
        "number": number,
        "percent": percent,
        "plain": plain,
        "title_of": title_of,
    }
    environment.globals |= {"outcome_words": {outcome: plain(outcome) for outcome in OUTCOMES}, "joint": JOINT}
    return environment


def number(value: float | None, digits: int = 3) -> str:
    """Return a figure as text, a dash where there is none.

    Example:
        >>> number(0.12345), number(float("nan"))
        ('0.123', '-')
    """
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    """Return a share as text.

    Example:
        >>> percent(0.125)
        '12.5 %'
    """
    return "-" if value is None or value != value else f"{100 * value:.1f} %"


def plain(name: str) -> str:
    """Return the name of an attribute or class as one reads it."""
    return name.replace("_", " ")


def title_of(block: str) -> str:
    """Return the name of a block of figures as one reads it."""
    return "joint classes" if block == JOINT else plain(block)


def chart_sources(chart: Chart) -> dict[str, str]:
    """Return a chart as data URIs for wide and narrow screens."""
    forms = {"svg": chart.svg, "narrow_svg": chart.narrow_svg}
    return {name: _data_uri(content, "image/svg+xml") for name, content in forms.items()}


def tile(path: Path, seen: Seen, classes: Classes) -> Tile:
    """Return one image with the boxes of its faces and a bar for each attribute, of which each face has its part.

    Args:
        path: path of the image file, which was readable.
        seen: what was seen in it.
        classes: attribute -> class names, in the order of the probabilities.
    """
    with Image.fromarray(read_image(path).permute(1, 2, 0).numpy()) as image:
        width, height = image.size
        image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=88)
    faces = sorted(seen.faces, key=lambda face: face.box[0])
    bars = []
    for place, (attribute, names) in enumerate(classes.items()):
        parts = []
        for face in faces:
            probabilities = face.probabilities[attribute]
            label = max(range(len(names)), key=probabilities.__getitem__)
            parts.append(BarPart(names[label], probabilities[label], web_colour(label, len(names), place)))
        bars.append(Bar(attribute, parts))
    boxes = [
        Box(100 * left / width, 100 * top / height, 100 * (right - left) / width, 100 * (bottom - top) / height)
        for left, top, right, bottom in (face.box for face in seen.faces)
    ]
    source = _data_uri(stream.getvalue(), "image/jpeg")
    return Tile(file=path.name, source=source, width=width, height=height, boxes=boxes, bars=bars)


def legend(classes: Classes) -> list[LegendEntry]:
    """Return the classes of each attribute with their colours."""
    return [
        LegendEntry(attribute, [(name, web_colour(i, len(names), place)) for i, name in enumerate(names)])
        for place, (attribute, names) in enumerate(classes.items())
    ]


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
