"""The chart of pictures of several people: how many were asked for, how many were found."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fairlit.pictures.chart_style import GREY, INK, empty_figure, percent_axis

_EXACT, _OTHER, _EDGE = "#188038", "#c9ccd1", "#ffffff"
_LEAST_LABELLED = 0.05  # narrower parts of a bar have no room for a number


def people_chart(found: Mapping[int, Mapping[int, int]]) -> Callable[[float], Figure]:
    """One bar for each number of people asked for: shares of the images in which so many were found.

    Args:
        found: number asked for -> number found -> images.
    """

    def chart(width: float) -> Figure:
        figure, axes = empty_figure(width, 0.8 + 0.45 * len(found))
        for row, (asked, numbers) in enumerate(sorted(found.items())):
            left, total = 0.0, sum(numbers.values())
            for number, images in sorted(numbers.items()):
                share = images / total
                colour = _EXACT if number == asked else _OTHER
                axes.add_patch(Rectangle((left, row - 0.32), share, 0.64, facecolor=colour, edgecolor=_EDGE, lw=1))
                if share >= _LEAST_LABELLED:
                    ink = _EDGE if number == asked else INK
                    axes.text(left + share / 2, row, str(number), ha="center", va="center", color=ink)
                left += share
            axes.text(-0.015, row, f"{asked} asked for", ha="right", va="bottom", color=INK)
            axes.text(-0.015, row + 0.05, f"n = {total}", ha="right", va="top", color=GREY)
        axes.set_xlim(0, 1)
        axes.set_ylim(len(found) - 0.4, -0.6)
        percent_axis(axes)
        return figure

    return chart
