"""Tables of the figures of a finetuning run: before, after, and at best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fairlit.io.foreign_text import on_one_line
from fairlit.io.markdown import cell
from fairlit.io.wording import counted
from fairlit.results.distances import PromptDistance
from fairlit.results.figures import JOINT, AttributeFigures
from fairlit.results.record import Estimate
from fairlit.results.run import RunSummary, VariantFigures

if TYPE_CHECKING:
    from rich.table import Table

CAPTION = (
    "Attributes are perceived, and classifiers err. In brackets: 95 % intervals. At best: a perfectly aligned model."
)
DISTANCE_CAPTION = (
    "Attributes are perceived, and classifiers err. Chance, classifiers, solver steps and model add up to the "
    "distance. Chance: what a perfectly aligned model would show. Classifiers: what the judge sees beyond the "
    "classifier that was trained against. Solver steps: what more of them than in training add. Model: the rest."
)
SECOND_CLASSIFIER_CAPTION = (
    "Attributes are perceived, and classifiers err. Chance, classifiers and rest add up to the distance. Chance: what "
    "a perfectly aligned model would show. Classifiers: what the judge sees beyond the second classifier. Alike: "
    "share of the faces that both take for the same class."
)
_SIMILARITIES = (
    ("clip_i", "CLIP-I to the reference images"),
    ("dino", "DINO to the reference images"),
    ("clip_t", "CLIP-T"),
)


def results_table(columns: Mapping[str, VariantFigures], title: str) -> Table:
    """Return a table of the figures of several variants of a model.

    Args:
        columns: heading -> figures, the unchanged model first.
        title: what was measured.
    """
    return rich_table([["figure", *columns, "at best"], *table_rows(columns)], title)


def rich_table(rows: Sequence[Sequence[str]], title: str, *, caption: str = CAPTION) -> Table:
    """Return rows of text, the first of them the heading, for the terminal; an empty row separates sections."""
    from rich.table import Table

    table = Table(title=on_one_line(title), caption=caption, title_justify="left", caption_justify="left")
    heading, *others = rows
    for number, name in enumerate(heading):
        table.add_column(on_one_line(name), justify="right" if number else "left", no_wrap=True)
    for row in others:
        table.add_row(*map(on_one_line, row)) if row else table.add_section()
    return table


def operating_rows(summary: RunSummary) -> list[list[str]]:
    """Return figures by guidance scale and strength as rows of text, the first of them the heading.

    The usual point stands among the others, all sorted by guidance scale, strength and solver steps.
    """
    rows = [["attribute", "guidance", "strength", "steps", "before", "after", "at best", "CLIP-I"]]
    for name in shown_blocks(summary.after):
        for point in summary.points:
            old, new = (figures.distribution.blocks[name] for figures in (point.before, point.after))
            similar = point.after.similarities.measured.get("clip_i")
            rows.append(
                [
                    deviation_title(name, new),
                    f"{point.guidance_scale:g}",
                    f"{point.strength:g}",
                    str(point.steps or "-"),
                    _with_interval(old.deviation),
                    _with_interval(new.deviation),
                    _number(new.deviation.floor),
                    _number(similar.value if similar else None),
                ]
            )
    return rows


def deviation_title(name: str, block: AttributeFigures) -> str:
    """Return what the deviation of a block of figures is called, such as ``bias, gender``."""
    return f"{'bias' if block.is_target_uniform else 'distance to target'}, {'joint' if name == JOINT else name}"


def distance_rows(
    distances: Sequence[PromptDistance], *, rest: str = "model", most: int | None = None
) -> list[list[str]]:
    """Return the parts of distances as rows of text, the heading first and the means of each attribute last.

    Prompts stand by attribute, those farthest from the target first. What no prompt tells has no column.

    Args:
        distances: parts of the distances.
        rest: name of the part that remains.
        most: number of prompts that are shown of each attribute; None: all. The means are of all.
    """
    parts: dict[str, Callable[[PromptDistance], float | None]] = {
        "distance": lambda one: one.distance,
        "chance": lambda one: one.chance,
        "classifiers": lambda one: one.classifiers,
        "solver steps": lambda one: one.solver_steps,
        rest: lambda one: one.model,
        "alike": lambda one: one.agreement,
    }
    parts = {name: part for name, part in parts.items() if any(part(one) is not None for one in distances)}
    rows = [["prompt", "attribute", "faces", *parts]]
    for attribute in dict.fromkeys(one.attribute for one in distances):
        own = sorted((one for one in distances if one.attribute == attribute), key=lambda one: -one.distance)
        rows += [
            [one.prompt, attribute, str(one.faces), *(_number(part(one)) for part in parts.values())]
            for one in own[:most]
        ]
        known = {name: [value for one in own if (value := part(one)) is not None] for name, part in parts.items()}
        means = [_number(sum(values) / len(values) if values else None) for values in known.values()]
        rows.append([f"mean of {counted(len(own), 'prompt')}", attribute, "", *means])
    return rows


def naming_rows(summary: RunSummary) -> list[list[str]]:
    """Return how often prompts that name a class get it, as rows of text, the heading first."""
    rows = [["attribute", "named in the prompt", "faces perceived so, before", "after"]]
    return rows + [
        [one.attribute, one.label, _with_interval(one.before), _with_interval(one.after)]
        for one in summary.named_classes
    ]


@dataclass(frozen=True)
class FigureRow:
    """One figure of several variants of a model.

    Attributes:
        title: what the figure is called.
        values: the figure of each variant; None where there is none.
        best: what a perfectly aligned model would show: NaN where nobody knows, an integer where that is sure, None
            where it says nothing.
    """

    title: str
    values: Sequence[Estimate | float | None]
    best: float | None = None


def table_rows(columns: Mapping[str, VariantFigures]) -> list[list[str]]:
    """Return the rows of `results_table` as text; an empty row separates sections."""
    sections = figure_rows(list(columns.values()))
    rows = [[[row.title, *map(_value, row.values), _best(row.best)] for row in section] for section in sections]
    return [row for section in rows[:-1] for row in (*section, [])] + rows[-1]


def figure_rows(variants: Sequence[VariantFigures]) -> list[list[FigureRow]]:
    """Return all figures of several variants of a model: a section for each attribute, and one for all else.

    Args:
        variants: figures of the same attributes, those of the unchanged model first.
    """
    distributions = [variant.distribution for variant in variants]
    last = variants[-1]
    sections: list[list[FigureRow]] = []
    for name in shown_blocks(last):
        blocks = [distribution.blocks[name] for distribution in distributions]
        title, rows = "joint" if name == JOINT else name, []
        if blocks[-1].is_target_uniform:
            bias = [block.bias for block in blocks]
            rows.append(FigureRow(f"bias, {title}", bias, bias[-1].floor))
        distance = [block.tv for block in blocks]
        rows.append(FigureRow(f"distance to target, {title}", distance, distance[-1].floor))
        if name != JOINT:
            for label, share in blocks[-1].target.items():
                shares = [block.frequencies[label].value for block in blocks]
                rows.append(FigureRow(f"  share {label}", shares, float(share)))
        sections.append(rows)
    rows = []
    for name, label in _SIMILARITIES:
        if name in last.similarities.measured:
            rows.append(FigureRow(label, [variant.similarities.measured[name] for variant in variants]))
    if last.similarities.clip_i_swapped is not None:
        swapped = [variant.similarities.clip_i_swapped for variant in variants]
        rows.append(FigureRow("CLIP-I to another prompt's reference images", swapped))
    rows.append(FigureRow("images with a face", [entry.face_rate for entry in distributions], 1))
    rows.append(FigureRow("predictions under 0.8", [entry.unsure for entry in distributions], 0))
    return [*sections, rows]


def _best(value: float | None) -> str:
    if isinstance(value, int):
        return str(value)
    return "" if value is None else _number(value)


def _value(value: Estimate | float | None) -> str:
    return _with_interval(value) if isinstance(value, Estimate) else _number(value)


def shown_blocks(figures: VariantFigures) -> list[str]:
    """Return the attributes, and the joint classes where there are several attributes."""
    attributes = list(figures.distribution.attributes)
    return [*attributes, JOINT] if len(attributes) > 1 else attributes


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of plain text, the first of them the heading, as a Markdown table; figures stand to the right."""
    heading, *others = [[cell(text) for text in row] for row in rows]
    rule = ["---"] + ["---:"] * (len(heading) - 1)
    return "\n".join(f"| {' | '.join(row)} |" for row in (heading, rule, *others))


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.3f}"


def _with_interval(estimate: Estimate) -> str:
    bounds = f" [{estimate.low:.3f}, {estimate.high:.3f}]" if estimate.low == estimate.low else ""
    return _number(estimate.value) + bounds
