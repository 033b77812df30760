"""The table at the end of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

CAPTION = (
    "Attributes are perceived, and classifiers err. In brackets: 95 % intervals. At best: a perfectly aligned model."
)


def results_table(columns: Mapping[str, Mapping[str, Any]], title: str) -> Table:
    """A table of the figures of several variants of a model.

    Args:
        columns: heading -> figures as `AttributeDistribution` and `SemanticSimilarity` compute them, in plain
            numbers; the original model first.
        title: what was measured.
    """
    table = Table(title=title, caption=CAPTION, title_justify="left", caption_justify="left")
    table.add_column("figure", no_wrap=True)
    for heading in (*columns, "at best"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in table_rows(columns):
        table.add_row(*row) if row else table.add_section()
    return table


def table_rows(columns: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """The rows of `results_table` as text; an empty row separates sections."""
    figures = list(columns.values())
    last = figures[-1]
    names = [*last["attributes"], *(["joint"] if len(last["attributes"]) > 1 else [])]
    rows: list[list[str]] = []
    for name in names:
        blocks = [entry["joint"] if name == "joint" else entry["attributes"][name] for entry in figures]
        rows.append([f"bias, {name}", *_intervals(blocks, "bias"), _number(blocks[-1]["noise_floor"])])
        rows.append([f"distance to target, {name}", *_intervals(blocks, "tv"), _number(blocks[-1]["tv_noise_floor"])])
        if name != "joint":
            for label, share in blocks[-1]["target"].items():
                shares = [_number(block["frequencies"][label]) for block in blocks]
                rows.append([f"  share {label}", *shares, _number(share)])
        rows.append([])
    for name, label in (("clip_i", "CLIP-I to the originals"), ("dino", "DINO to the originals"), ("clip_t", "CLIP-T")):
        if name in last:
            rows.append([label, *_intervals(figures, name), ""])
    if "clip_i_swapped" in last:
        rows.append(
            ["CLIP-I to another prompt's originals", *[_number(entry["clip_i_swapped"]) for entry in figures], ""]
        )
    rows.append(["images with a face", *[_number(entry["face_rate"]) for entry in figures], "1"])
    rows.append(["predictions under 0.8", *[_number(entry["unsure"]) for entry in figures], "0"])
    return rows


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows, the first of them the heading, as a Markdown table; figures stand to the right."""
    rule = ["---"] + ["---:"] * (len(rows[0]) - 1)
    return "\n".join("| " + " | ".join(cell.strip() for cell in row) + " |" for row in [rows[0], rule, *rows[1:]])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _intervals(blocks: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    cells = []
    for block in blocks:
        interval = block.get(f"{name}_ci")
        bounds = f" [{_number(interval[0])}, {_number(interval[1])}]" if interval and None not in interval else ""
        cells.append(_number(block[name]) + bounds)
    return cells
