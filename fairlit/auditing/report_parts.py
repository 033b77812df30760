"""What reports are made of: tiles of images, charts and table cells, ready for the templates.

Templates escape every text; nothing here is marked as safe.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from fairlit.auditing.measure import JOINT, blocks_of
from fairlit.judging.observations import Seen
from fairlit.pictures.colours import web_colour
from fairlit.pictures.files import read_image

Classes = Mapping[str, Sequence[str]]

_SIDE = 176  # of a tile's picture in pixels: sharp at its size on high-resolution screens
_STANDING_WORDS = {"off": "misses its target", "within": "near its target", "open": "undecided"}


def render(template: str, **content: Any) -> str:
    """A page from a template of this package; everything that is put in is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "percent": percent, "plain": plain, "title_of": title_of}
    environment.globals |= {"standing_words": _STANDING_WORDS, "blocks_of": blocks_of, "joint": JOINT}
    return environment.get_template(template).render(**content)


def number(value: float | None, digits: int = 3) -> str:
    """A figure as text; a dash where there is none.

    Example:
        >>> number(0.12345), number(float("nan"))
        ('0.123', '-')
    """
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    """A share as text.

    Example:
        >>> percent(0.125)
        '12.5 %'
    """
    return "-" if value is None or value != value else f"{100 * value:.1f} %"


def plain(name: str) -> str:
    """The name of an attribute or class as one reads it."""
    return name.replace("_", " ")


def title_of(block: str) -> str:
    """The name of a block of figures as one reads it."""
    return "joint classes" if block == JOINT else plain(block)


def chart_sources(forms: Mapping[str, bytes]) -> dict[str, str]:
    """A chart from `charts.draw` as data URIs for wide and narrow screens."""
    return {name: _data_uri(forms[name], "image/svg+xml") for name in ("svg", "narrow_svg")}


def tile(path: Path, seen: Seen, classes: Classes) -> dict[str, Any]:
    """One image with the boxes of its faces and a bar for each attribute, of which each face has its part.

    Args:
        path: the image file; it was readable.
        seen: what was seen in it.
        classes: attribute -> class names, in the order of the probabilities.
    """
    with Image.fromarray(read_image(path).permute(1, 2, 0).numpy()) as image:
        width, height = image.size
        image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=88)
    bars = []
    for place, (attribute, names) in enumerate(classes.items()):
        parts = []
        for face in sorted(seen.faces, key=lambda face: face.box[0]):
            probabilities = face.probabilities[attribute]
            label = max(range(len(names)), key=probabilities.__getitem__)
            colour = web_colour(label, len(names), place)
            parts.append({"label": names[label], "share": probabilities[label], "colour": colour})
        bars.append({"attribute": attribute, "parts": parts})
    boxes = [
        {
            "left": 100 * left / width,
            "top": 100 * top / height,
            "width": 100 * (right - left) / width,
            "height": 100 * (bottom - top) / height,
        }
        for left, top, right, bottom in (face.box for face in seen.faces)
    ]
    source = _data_uri(stream.getvalue(), "image/jpeg")
    return {"source": source, "width": width, "height": height, "boxes": boxes, "bars": bars, "file": path.name}


def legend(classes: Classes) -> list[dict[str, Any]]:
    """The classes of each attribute with their colours."""
    return [
        {
            "attribute": attribute,
            "classes": [{"name": name, "colour": web_colour(i, len(names), place)} for i, name in enumerate(names)],
        }
        for place, (attribute, names) in enumerate(classes.items())
    ]


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
