"""The style of all charts, drawn once for wide and once for narrow screens; colours are those of the pictures."""

from __future__ import annotations

import io
import itertools
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from fairlit.io.foreign_text import on_one_line
from fairlit.pictures.chart_forms import Chart
from fairlit.pictures.colours import web_colour

WIDE, NARROW = 8.6, 3.6
"""Widths in inches: a page of text on a desk, and a phone."""

RIGHT = 0.55
"""Margin beside the axes in inches, where figures stand."""

INK, GREY, FAINT, RULE = "#202124", "#5f6368", "#eceef1", "#c9ccd1"
TARGET = "#d93025"
_STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that charts look the same everywhere
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "text.parse_math": False,  # a dollar in a prompt is a dollar
    "svg.fonttype": "path",
    "svg.hashsalt": "fairlit",  # equal figures, equal files
}


def draw(chart: Callable[[float], Figure]) -> Chart:
    """Draw a chart in all forms that a report needs.

    Args:
        chart: function from a width in inches to the figure.
    """
    with _styled():
        wide = chart(WIDE)
        return Chart(_saved(wide, "png"), _saved(wide, "svg"), _saved(chart(NARROW), "svg"))


def draw_picture(chart: Callable[[float], Figure]) -> Image.Image:
    """Draw the wide form of a chart as an RGB picture.

    Args:
        chart: function from a width in inches to the figure.
    """
    with _styled():
        return Image.open(io.BytesIO(_saved(chart(WIDE), "png"))).convert("RGB")


def empty_figure(width: float, height: float, left: float = 1.05) -> tuple[Figure, Axes]:
    """Return an empty figure whose margins are inches, whatever its size."""
    figure = Figure(figsize=(width, height))
    top, bottom, right = 0.5, 0.3, RIGHT
    axes = figure.add_axes(
        (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    )
    return figure, axes


def strip(axes: Axes, shares: Mapping[str, float], *, top: float, height: float, place: int) -> None:
    """Draw shares side by side in a bar."""
    edges = np.cumsum([0.0, *shares.values()])
    for index, (start, stop) in enumerate(itertools.pairwise(edges)):
        colour = web_colour(index, len(shares), place)
        axes.add_patch(Rectangle((start, top), stop - start, height, color=colour, lw=0, zorder=2))


def target_tick(axes: Axes, share: float, start: float, *, stop: float) -> None:
    """Mark the target; the white rim keeps it apart from red classes."""
    for colour, line, above in (("white", 4.0, 4.8), (TARGET, 2.0, 5)):
        axes.plot([share, share], [start, stop], color=colour, lw=line, solid_capstyle="butt", zorder=above)


def percent_axis(axes: Axes) -> None:
    """Show shares from 0 to 100 % along the bottom, and nothing else."""
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"])
    axes.set_yticks([])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def legend_above(axes: Axes, handles: Sequence[Any], columns: int) -> None:
    """Put a legend over the right end of the axes."""
    axes.legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=columns,
        frameon=False,
        borderaxespad=0.2,
        handlelength=1.2,
        handletextpad=0.5,
        columnspacing=1.2,
    )


def plain_label(name: str) -> str:
    """Return the name of an attribute or class as a chart shows it."""
    return on_one_line(name.replace("_", " "))


def wrapped(text: str, length: int) -> str:
    """Return a text in at most two lines of `length` letters."""
    return "\n".join(textwrap.wrap(on_one_line(text), length, max_lines=2, placeholder=" …"))


@contextmanager
def _styled() -> Iterator[None]:
    """Inside the block figures are made in the style of charts."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # DejaVu has no Chinese or Japanese, say; the tables beside a chart hold its texts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _saved(figure: Figure, form: str) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format=form, dpi=200, facecolor="white", metadata={"Date": None} if form == "svg" else None)
    return stream.getvalue()
