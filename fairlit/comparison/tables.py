"""Tables of a comparison on the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

from fairlit.auditing.report_parts import number, percent, title_of
from fairlit.comparison.report import group_rows
from fairlit.io.foreign_text import on_one_line
from fairlit.results.comparison import ComparisonResults


def method_table(results: ComparisonResults) -> Table:
    """Return a table with a row for each method, the nearest to the target first."""
    reference = results.methods[results.reference].figures
    block = reference.main_block
    bias = ("bias",) if block in reference.uniform_blocks else ()
    what = " and ".join(("distance to target", *bias))
    table = _table(f"{what}: {title_of(block)}", ("method", "distance", *bias, "CLIP-I", "CLIP-T", "faces", "s/image"))
    for name, method in results.methods.items():
        own, similar = method.figures.blocks[block], method.similarities
        table.add_row(
            on_one_line(name),
            f"{number(own.tv.value, 2)} [{number(own.tv.low, 2)}, {number(own.tv.high, 2)}]",
            *(number(own.bias.value, 2) for _ in bias),
            number(None if similar.clip_i is None else similar.clip_i.value),
            number(None if similar.clip_t is None else similar.clip_t.value),
            percent(method.figures.face_rate),
            number(method.seconds_an_image, 2),
        )
    return table


def group_table(results: ComparisonResults) -> Table | None:
    """Return a table of people found and compositions; None where the largest face of an image alone counts."""
    groups = group_rows(results.methods)
    if groups is None:
        return None
    headings = [f"of {asked}" for asked in groups.asked]
    headings += [f"{title_of(attribute)} of {people}" for people, attribute in groups.compositions]
    title = "faces found per image, images with as many as asked for, and distance of compositions"
    table = _table(title, ("method", "exact", *headings))
    for row in groups.rows:
        counts = [number(count, 2) for count in row.found]
        blocks = ["-" if block is None else number(block.tv.value, 2) for block in row.blocks]
        table.add_row(on_one_line(row.name), percent(row.exact), *counts, *blocks)
    return table


def _table(title: str, headings: tuple[str, ...]) -> Table:
    table = Table(title=on_one_line(title), title_justify="left", box=SIMPLE_HEAD)
    for heading in headings:
        table.add_column(
            on_one_line(heading), justify="left" if heading == "method" else "right", no_wrap=heading != "method"
        )
    return table
