"""Draws what a test measured over guidance scales, strengths of the adaptor and numbers of solver steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from fairlit.pictures.chart_style import FAINT, GREY, INK, RULE, draw_picture, plain_label
from fairlit.results.curves import OperatingCurve, operating_curves
from fairlit.results.record import Estimate
from fairlit.results.run import RunSummary
from fairlit.results.tables import deviation_title, shown_blocks

_AFTER = "#1a5fb4"
_LEFT, _BESIDE, _HEIGHT, _BELOW, _ABOVE = 0.55, 0.42, 1.55, 0.75, 0.4  # inches of a panel and around it


def curves_chart(summary: RunSummary) -> Callable[[float], Figure]:
    """Bias, or distance to the target where that is not uniform, before and after, with 95 % intervals.

    Rows are attributes and joint classes, columns what differs.

    Args:
        summary: summary of a test with at least one curve.
    """
    curves, names = operating_curves(summary), shown_blocks(summary.after)

    def chart(width: float) -> Figure:
        height = len(names) * (_HEIGHT + _BELOW) + _ABOVE
        figure = Figure(figsize=(width, height))
        room = (width - _LEFT - 0.1) / max(len(curves), 2)  # a single panel is no wider than two
        for (row, name), (column, curve) in itertools.product(enumerate(names), enumerate(curves)):
            bottom = height - _ABOVE - row * (_HEIGHT + _BELOW) - _HEIGHT
            left = _LEFT + column * room
            box = (left / width, bottom / height, (room - _BESIDE) / width, _HEIGHT / height)
            _draw_panel(figure.add_axes(box), curve, name, top=_highest(curves, name))
        _draw_legend(figure, trained=any(curve.trained for curve in curves), height=height)
        return figure

    return chart


def draw_curves(summary: RunSummary) -> Image.Image:
    """Return the picture of a test's curves, for a page or a logger.

    Args:
        summary: summary of a test with at least one curve.
    """
    return draw_picture(curves_chart(summary))


def _estimates(curve: OperatingCurve, name: str) -> tuple[list[Estimate], list[Estimate]]:
    before = [point.before.distribution.blocks[name].deviation for point in curve.points]
    return before, [point.after.distribution.blocks[name].deviation for point in curve.points]


def _highest(curves: list[OperatingCurve], name: str) -> float:
    """Return the top of the axes of a row, which all of its panels share."""
    ends = [
        end for curve in curves for each in _estimates(curve, name) for one in each for end in (one.value, one.high)
    ]
    return 1.06 * max([end for end in ends if end == end], default=1.0) or 1.0


def _draw_panel(axes: Axes, curve: OperatingCurve, name: str, *, top: float) -> None:
    before, after = _estimates(curve, name)
    places = np.array(curve.places)
    apart = 0.008 * (places[-1] - places[0])  # so that the intervals of one point do not hide each other
    if curve.trained is not None:
        low, high = curve.trained
        axes.add_patch(Rectangle((low, -top), high - low, 2 * top, color=FAINT, lw=0, zorder=0))
    axes.plot(places, [one.floor for one in after], color=GREY, lw=1.2, ls=(0, (2, 1.2)), zorder=1)
    for shift, figures, colour, face in ((-apart, before, INK, "white"), (apart, after, _AFTER, _AFTER)):
        reach = np.array([[one.value - one.low, one.high - one.value] for one in figures]).T
        axes.errorbar(
            places + shift,
            [one.value for one in figures],
            yerr=np.nan_to_num(reach).clip(min=0),
            color=colour,
            marker="o",
            mfc=face,
            ms=5,
            lw=1.2,
            elinewidth=1.2,
            capsize=2.5,
            zorder=3,
        )
    margin = 0.06 * (places[-1] - places[0])
    axes.set_xlim(places[0] - margin, places[-1] + margin)
    axes.set_ylim(-0.03 * top, top)
    axes.locator_params(nbins=4)
    axes.tick_params(length=2, color=RULE)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    block = curve.points[0].after.distribution.blocks[name]
    axes.set_title(plain_label(deviation_title(name, block)), loc="left", fontsize=9.5, weight="bold", pad=5)
    axes.set_xlabel(curve.title, fontsize=8.5, labelpad=2)


def _draw_legend(figure: Figure, *, trained: bool, height: float) -> None:
    axes = figure.axes[0]
    line: dict[str, Any] = {"marker": "o", "ms": 5, "lw": 1.2}
    handles: list[Any] = [
        axes.plot([], [], color=INK, mfc="white", label="before", **line)[0],
        axes.plot([], [], color=_AFTER, label="after", **line)[0],
        axes.plot([], [], color=GREY, lw=1.2, ls=(0, (2, 1.2)), label="at best")[0],
    ]
    if trained:
        handles.append(Rectangle((0, 0), 1, 1, color=FAINT, label="range in training"))
    figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0.35 / figure.get_size_inches()[0], 0.0),
        ncols=len(handles),
        frameon=False,
        borderaxespad=0.1,
        handlelength=1.6,
        handletextpad=0.5,
        columnspacing=1.4,
    )
