"""The table at the end of a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table


def results_table(summary: Mapping[str, Any]) -> Table:
    """A table of the figures before and after.

    Args:
        summary: what ``summary.json`` holds.
    """
    before, after = summary["before"], summary["after"]
    title = f"{after['prompts']} prompts, {after['images']} images, judged by {summary['judge']}"
    if summary["judge_is_trainer"]:
        title += " (which was also trained against: take the figures with care)"
    table = Table(title=title, caption="Attributes are perceived, and classifiers err. In brackets: 95 % intervals.")
    for heading in ("figure", "before", "after", "at best"):
        table.add_column(heading, justify="left" if heading == "figure" else "right")
    blocks = {name: (before["attributes"][name], after["attributes"][name]) for name in after["attributes"]}
    if len(blocks) > 1:
        blocks["joint"] = (before["joint"], after["joint"])
    for name, (old, new) in blocks.items():
        table.add_row(
            f"bias, {name}", _with_interval(old, "bias"), _with_interval(new, "bias"), _number(new["noise_floor"])
        )
        floor = _number(new["tv_noise_floor"])
        table.add_row(f"distance to target, {name}", _with_interval(old, "tv"), _with_interval(new, "tv"), floor)
        if name != "joint":
            for label, share in new["target"].items():
                row = (_number(old["frequencies"][label]), _number(new["frequencies"][label]), _number(share))
                table.add_row(f"  share {label}", *row)
        table.add_section()
    for name, label in (("clip_i", "CLIP-I to the originals"), ("dino", "DINO to the originals"), ("clip_t", "CLIP-T")):
        if name in after:
            table.add_row(label, _number(before[name]), _with_interval(after, name), "")
    if "clip_i_swapped" in after:
        table.add_row("CLIP-I if swapped for another prompt", "", _number(after["clip_i_swapped"]), "")
    table.add_row("images with a face", _number(before["face_rate"]), _number(after["face_rate"]), "1")
    table.add_row("predictions under 0.8", _number(before["unsure"]), _number(after["unsure"]), "0")
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if 0 < abs(value) < 0.001 else f"{value:.3f}"


def _with_interval(block: Mapping[str, Any], name: str) -> str:
    interval = block.get(f"{name}_ci")
    if not interval or None in interval:
        return _number(block[name])
    return f"{_number(block[name])} [{_number(interval[0])}, {_number(interval[1])}]"
