"""The charts of an audit's report."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fairlit.pictures.chart_forms import MAX_CHART_PROMPTS
from fairlit.pictures.chart_style import (
    FAINT,
    GREY,
    INK,
    RIGHT,
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
from fairlit.results.figures import DistributionFigures, PromptFigures
from fairlit.results.record import Estimate


def shares_chart(
    figures: DistributionFigures, reference: DistributionFigures | None = None
) -> Callable[[float], Figure]:
    """Frequencies of all classes, averaged over prompts, with 95 % intervals, against the target.

    Args:
        figures: figures from `auditing.measure.measure`.
        reference: figures of the unchanged model's images, drawn as hollow marks.
    """
    attributes = figures.attributes
    lines = sum(len(block.target) + 1 for block in attributes.values())

    def chart(width: float) -> Figure:
        figure, axes = empty_figure(width, 0.75 + 0.3 * lines)
        y = 0.0
        for row, (attribute, block) in enumerate(attributes.items()):
            axes.text(0, y, plain_label(attribute), va="center", weight="bold")
            for column, (name, share) in enumerate(block.target.items()):
                y += 1
                before = None if reference is None else reference.attributes[attribute].frequencies[name].value
                colour = web_colour(column, len(block.target), row)
                _share_row(axes, y, name, found=block.frequencies[name], target=share, before=before, colour=colour)
            y += 1
        axes.set_xlim(0, 1)
        axes.set_ylim(y - 0.3, -0.7)
        percent_axis(axes)
        handles = [
            axes.plot([], [], color=TARGET, lw=2.0, label="target")[0],
            axes.plot([], [], color=INK, lw=1.4, label="95 % interval")[0],
        ]
        if reference is not None:
            handles.append(axes.plot([], [], "o", mfc="white", mec=INK, ms=5.5, label="unchanged model")[0])
        legend_above(axes, handles, columns=2 if width < WIDE else len(handles))
        return figure

    return chart


def _share_row(
    axes: Axes, y: float, name: str, *, found: Estimate, target: float, before: float | None, colour: str
) -> None:
    """Draws the bar of one class with its interval, its target, and the unchanged model's share."""
    axes.add_patch(Rectangle((0, y - 0.32), 1, 0.64, color=FAINT, lw=0, zorder=1))
    axes.add_patch(Rectangle((0, y - 0.32), found.value, 0.64, color=colour, lw=0, zorder=2))
    reach = [[max(found.value - found.low, 0)], [max(found.high - found.value, 0)]]
    for edge, line, cap, above in (("white", 3.4, 4.2, 3), (INK, 1.4, 3, 4)):  # seen on dark bars too
        axes.errorbar(
            [found.value],
            [y],
            xerr=reach,
            fmt="none",
            ecolor=edge,
            elinewidth=line,
            capthick=line,
            capsize=cap,
            zorder=above,
        )
    target_tick(axes, target, y - 0.46, stop=y + 0.46)
    if before is not None:
        axes.plot([before], [y], "o", mfc="white", mec=INK, ms=5.5, mew=1.2, zorder=6)
    axes.text(-0.015, y, plain_label(name), ha="right", va="center", color=INK)
    axes.text(1.015, y, f"{100 * found.value:.0f} %", ha="left", va="center", color=INK)


def prompts_chart(
    figures: DistributionFigures, name: str, *, place: int, reference: DistributionFigures | None = None
) -> Callable[[float], Figure]:
    """Every prompt's shares of one attribute, the most biased prompt first, or the furthest from an uneven target.

    Args:
        figures: figures from `auditing.measure.measure`.
        name: name of the attribute.
        place: number of the attribute, for its colours.
        reference: figures of the unchanged model's images, drawn as a thin strip above each bar.
    """
    entries = sorted_by_deviation(figures, name)[:MAX_CHART_PROMPTS]
    target = figures.attributes[name].target
    heading = "bias" if figures.attributes[name].is_target_uniform else "distance"
    before = {entry.prompt: _shares(entry, name) for entry in reference.with_faces} if reference else {}

    def chart(width: float) -> Figure:
        texts = [wrapped(entry.prompt, round(14.2 * (width - 1.25))) for entry in entries]
        heights = [0.17 * (text.count("\n") + 1) + 0.36 for text in texts]  # in inches, as all of this axis
        figure, axes = empty_figure(width, sum(heights) + 0.95, left=0.15)
        bottom = 0.1
        for entry, text, height in zip(entries, texts, heights, strict=True):
            shown = entry.attributes[name]
            bottom += height
            top = bottom - 0.31  # of the bar
            axes.text(0, top - 0.07, text, va="bottom", fontsize=8.5, linespacing=1.15)
            axes.text(1, top - 0.07, f"n = {entry.faces}", va="bottom", ha="right", color=GREY, fontsize=7.5)
            if entry.prompt in before:
                strip(axes, before[entry.prompt], top=top - 0.05, height=0.035, place=place)
            strip(axes, _shares(entry, name), top=top, height=0.17, place=place)
            for edge in np.cumsum(list(target.values()))[:-1]:
                target_tick(axes, edge, top, stop=top + 0.22)
            colour = {"off_target": "#c5221f", "on_target": "#137333"}.get(shown.outcome or "", GREY)
            off = figures.deviation(entry, name).value
            axes.text(1.015, top + 0.085, f"{off:.2f}", va="center", color=colour, weight="bold")
        edge = 1 + (RIGHT - 0.03) / (width - 0.15 - RIGHT)  # of the picture, in the axes' own units
        if heading == "bias":
            axes.text(1.015, 0.02, heading, va="center", color=GREY)
        else:
            axes.text(edge, 0.02, heading, ha="right", va="center", color=GREY)
        axes.set_xlim(0, 1)
        axes.set_ylim(sum(heights) + 0.15, 0)
        percent_axis(axes)
        handles: list[Any] = [
            Rectangle((0, 0), 1, 1, color=web_colour(index, len(target), place), label=plain_label(label))
            for index, label in enumerate(target)
        ]
        handles.append(axes.plot([], [], color=TARGET, lw=2.0, label="target")[0])
        legend_above(axes, handles, columns=3 if width < WIDE else len(handles))
        return figure

    return chart


def joint_chart(figures: DistributionFigures) -> Callable[[float], Figure]:
    """Joint shares of all classes, averaged over prompts: rows are the first attribute, columns the others' classes."""
    attributes = {name: list(block.target) for name, block in figures.attributes.items()}
    first, *others = attributes
    block = figures.blocks[figures.main_block]
    columns = list(itertools.product(*(attributes[other] for other in others)))
    shape = (len(attributes[first]), len(columns))
    shown = np.array([share.value for share in block.frequencies.values()]).reshape(shape)
    target = np.array(list(block.target.values())).reshape(shape)

    def chart(width: float) -> Figure:
        turned = width < WIDE and shape[1] > shape[0]  # a phone has room below, not beside
        cells, asked = (shown.T, target.T) if turned else (shown, target)
        figure, axes = empty_figure(width, 1.0 + 0.55 * cells.shape[0], left=1.55 if turned else 1.05)
        word = "target " if cells.shape[1] <= (8 if width == WIDE else 3) else ""
        reach = max(0.05, float(np.abs(shown - target).max()))
        scale = LinearSegmentedColormap.from_list("difference", ["#7ba3d6", "#f7f7f5", "#e9a15b"])
        norm = TwoSlopeNorm(0.0, -reach, reach)
        axes.imshow(cells - asked, cmap=scale, norm=norm, aspect="auto")
        for (row, column), value in np.ndenumerate(cells):
            axes.text(column, row - 0.1, f"{100 * value:.0f} %", ha="center", va="center", weight="bold")
            axes.text(
                column,
                row + 0.26,
                f"{word}{100 * asked[row, column]:.3g} %",
                ha="center",
                va="center",
                fontsize=7.5,
                color=INK,
            )
        down = [plain_label(name) for name in attributes[first]]
        across = ["\n".join(map(plain_label, names)) for names in columns]
        beside = [", ".join(map(plain_label, names)) for names in columns]
        axes.set_xticks(range(cells.shape[1]), down if turned else across)
        axes.set_yticks(range(cells.shape[0]), beside if turned else down)
        axes.tick_params(length=0, labelcolor=INK)
        axes.xaxis.tick_top()
        axes.set_xticks(np.arange(0.5, cells.shape[1] - 1), minor=True)
        axes.set_yticks(np.arange(0.5, cells.shape[0] - 1), minor=True)
        axes.grid(which="minor", color="white", lw=2)
        axes.tick_params(which="minor", length=0)
        for side in axes.spines.values():
            side.set_visible(False)
        return figure

    return chart


def sorted_by_deviation(figures: DistributionFigures, name: str) -> list[PromptFigures]:
    """Return the figures of the prompts with faces, those that are furthest off first."""
    return sorted(figures.with_faces, key=lambda entry: -figures.deviation(entry, name).value)


def _shares(entry: PromptFigures, name: str) -> dict[str, float]:
    return {label: share.value for label, share in entry.attributes[name].frequencies.items()}
