"""The charts of a comparison of methods, one row a method, in the style of `charts`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fairlit.pictures.chart_forms import MAX_CHART_PROMPTS
from fairlit.pictures.chart_style import (
    FAINT,
    GREY,
    INK,
    RULE,
    TARGET,
    WIDE,
    empty_figure,
    legend_above,
    percent_axis,
    plain_label,
    strip,
    target_tick,
    wrapped,
)
from fairlit.pictures.colours import web_colour
from fairlit.results.record import Estimate

_NAMES, _ROW, _ACROSS = 1.5, 0.34, 3  # inches for names of methods and for a row; panels beside each other


@dataclass(frozen=True)
class Panel:
    """One figure of all methods.

    Attributes:
        title: what is shown.
        values: method -> figure; floors are drawn where there are any.
        low_is_good: whether low figures are good ones; else high ones are.
    """

    title: str
    values: Mapping[str, Estimate]
    low_is_good: bool = True

    @property
    def floors(self) -> dict[str, float]:
        """What chance alone would show of the methods that could be measured."""
        return {name: one.floor for name, one in self.values.items() if one.known and one.floor == one.floor}

    def limits(self) -> tuple[float, float]:
        """Return the ends of the axis: from 0 for distances, up to 1 for similarities."""
        reached = [number for one in self.values.values() for number in (one.value, *one.interval)]
        reached = [number for number in reached if number == number]
        if self.low_is_good:
            return 0.0, 1.08 * max([*reached, *self.floors.values(), 0.05])
        least = min([*reached, 0.99])
        most = max([*reached, least + 0.01])
        return least - 0.08 * (most - least), most + 0.08 * (most - least)


def panels_chart(panels: Sequence[Panel]) -> Callable[[float], Figure]:
    """Figures of all methods with 95 % intervals: panels beside each other on a desk, below each other on a phone."""
    methods = list(panels[0].values)

    def chart(width: float) -> Figure:
        across = min(_ACROSS, len(panels)) if width == WIDE else 1
        down = -(-len(panels) // across)
        block = 0.75 + _ROW * len(methods)
        figure = Figure(figsize=(width, down * block + 0.1))
        room = (width - _NAMES - 0.15) / across
        for place, panel in enumerate(panels):
            row, column = divmod(place, across)
            left, bottom = _NAMES + column * room, (down - 1 - row) * block + 0.45
            box = (left / width, bottom / (down * block + 0.1), (room - 0.25) / width, _ROW * len(methods))
            axes = figure.add_axes((*box[:3], box[3] / (down * block + 0.1)))
            _draw_panel(axes, panel, methods, named=column == 0)
        return figure

    return chart


def shares_by_method_chart(
    shares: Mapping[str, Mapping[str, float]], target: Mapping[str, float], place: int
) -> Callable[[float], Figure]:
    """Frequencies of one attribute's classes under every method, averaged over prompts, against the target.

    Args:
        shares: method -> class -> frequency; methods without any face are left empty.
        target: class -> share.
        place: number of the attribute, for its colours.
    """

    def chart(width: float) -> Figure:
        figure, axes = empty_figure(width, _ROW * len(shares) + 0.85, left=_NAMES)
        for row, (method, own) in enumerate(shares.items()):
            axes.add_patch(Rectangle((0, row - 0.33), 1, 0.66, color=FAINT, lw=0, zorder=1))
            if all(value == value for value in own.values()):
                strip(axes, own, top=row - 0.33, height=0.66, place=place)
            axes.text(-0.015, row, wrapped(method, 22), ha="right", va="center", linespacing=1.0)
        for edge in np.cumsum(list(target.values()))[:-1]:
            target_tick(axes, edge, -0.45, stop=len(shares) - 0.55)
        axes.set_xlim(0, 1)
        axes.set_ylim(len(shares) - 0.4, -0.6)
        percent_axis(axes)
        handles: list[Any] = [
            Rectangle((0, 0), 1, 1, color=web_colour(index, len(target), place), label=plain_label(label))
            for index, label in enumerate(target)
        ]
        handles.append(axes.plot([], [], color=TARGET, lw=2.0, label="target")[0])
        legend_above(axes, handles, columns=3 if width < WIDE else len(handles))
        return figure

    return chart


def prompts_by_method_chart(
    distances: Mapping[str, Mapping[str, float]], prompts: Sequence[str]
) -> Callable[[float], Figure]:
    """Distance to the target of every prompt under every method; rows are prompts, columns methods.

    Args:
        distances: method -> prompt -> distance, NaN without a face.
        prompts: in the order from top to bottom.
    """
    shown = list(prompts[:MAX_CHART_PROMPTS])
    cells = np.array([[distances[method].get(prompt, np.nan) for method in distances] for prompt in shown])
    labels = distinct_parts(prompts)[: len(shown)]

    def chart(width: float) -> Figure:
        wide = width == WIDE
        names = [wrapped(label, 34 if wide else 16) for label in labels]
        left = min(2.6 if wide else 1.3, 0.25 + 0.075 * max(len(line) for name in names for line in name.split("\n")))
        columns = [f"{number}" for number in range(1, len(distances) + 1)]
        if wide:
            columns = [name.replace(" ", "\n", 2) for name in distances]
        listed = [] if wide else [f"{number}  {name}" for number, name in enumerate(distances, 1)]
        height = 0.65 + 0.32 * len(shown) + (0.0 if wide else 0.3 + 0.17 * len(listed))
        figure = Figure(figsize=(width, height))
        below = 0.1 if wide else 0.3 + 0.17 * len(listed)
        axes = figure.add_axes((left / width, below / height, (width - left - 0.1) / width, 0.32 * len(shown) / height))
        colours = LinearSegmentedColormap.from_list("distance", ["#f4f7f2", "#f2c08a", "#c5583a"])
        scale = colours.with_extremes(bad="#ffffff")
        axes.imshow(cells, cmap=scale, vmin=0, vmax=max(0.5, float(np.nanmax(cells, initial=0.0))), aspect="auto")
        for (row, column), value in np.ndenumerate(cells):
            text = "-" if value != value else f"{value:.2f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=9 if wide else 7.5)
        axes.set_xticks(range(len(columns)), columns, fontsize=8)
        axes.set_yticks(range(len(shown)), names)
        axes.xaxis.tick_top()
        axes.tick_params(length=0, labelcolor=INK)
        axes.set_xticks(np.arange(0.5, len(columns) - 1), minor=True)
        axes.set_yticks(np.arange(0.5, len(shown) - 1), minor=True)
        axes.grid(which="minor", color="white", lw=1.5)
        axes.tick_params(which="minor", length=0)
        for side in axes.spines.values():
            side.set_visible(False)
        for number, line in enumerate(listed):
            figure.text(0.1 / width, (below - 0.22 - 0.17 * number) / height, line, va="center", fontsize=8, color=GREY)
        return figure

    return chart


def distinct_parts(prompts: Sequence[str]) -> list[str]:
    """Return prompts without the words that all of them begin or end with.

    Example:
        >>> distinct_parts(["a photo of a chef, a person", "a photo of a nurse, a person"])
        ['… chef …', '… nurse …']
    """
    if len(prompts) < 2:
        return list(prompts)
    words = [prompt.replace(",", " ,").split() for prompt in prompts]
    first = _common(words)
    last = _common([own[first:][::-1] for own in words])
    parts = [" ".join(own[first : len(own) - last]).replace(" ,", ",") for own in words]
    return [f"{'… ' if first else ''}{part}{' …' if last else ''}".strip() for part in parts]


def _common(rows: Sequence[Sequence[str]]) -> int:
    """With how many equal words all rows begin."""
    return sum(1 for _ in itertools.takewhile(lambda words: len(set(words)) == 1, zip(*rows, strict=False)))


def _draw_panel(axes: Axes, panel: Panel, methods: Sequence[str], *, named: bool) -> None:
    (low, high), floors = panel.limits(), panel.floors
    for row, method in enumerate(methods):
        if row % 2 == 0:
            axes.add_patch(Rectangle((low, row - 0.5), high - low, 1, color="#f6f7f9", lw=0, zorder=0))
        one = panel.values[method]
        if one.known:
            axes.plot([one.low, one.high], [row, row], color=INK, lw=1.4, zorder=3)
            axes.plot([one.value], [row], "o", color="#1a5fb4", ms=5.5, zorder=4)
        if method in floors:
            axes.plot([floors[method]] * 2, [row - 0.32, row + 0.32], color=GREY, lw=1.2, ls=(0, (2, 1.2)), zorder=2)
        if named:
            axes.text(-0.03, row, wrapped(method, 22), ha="right", va="center", transform=axes.get_yaxis_transform())
    axes.set_xlim(low, high)
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=4)
    axes.tick_params(length=2, color=RULE)
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    better = "← better" if panel.low_is_good else "better →"
    axes.set_title(panel.title, loc="left", fontsize=9.5, weight="bold", pad=5)
    axes.set_xlabel(better, loc="left" if panel.low_is_good else "right", fontsize=8, color=GREY, labelpad=1)
