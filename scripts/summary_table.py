"""Prints the table of one or more runs as Markdown: ``python scripts/summary_table.py runs/demo/summary.json``.

One summary gives its figures before and after; several give one row a run.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from fairlit.results.tables import markdown_table, table_rows


def whole_table(summary: dict[str, Any]) -> list[list[str]]:
    """Every figure of one run, before and after."""
    rows = table_rows({"before": summary["before"], "after": summary["after"]})
    return [["", "before", "after", "at best"], *[row for row in rows if row]]


def one_row_each(summaries: dict[str, dict[str, Any]]) -> list[list[str]]:
    """The main figures of several runs."""
    rows = [["run", "attribute", "bias before", "bias after", "at best", "distance to target", "CLIP-I", "minutes"]]
    for name, summary in summaries.items():
        before, after = summary["before"], summary["after"]
        attributes = list(after["attributes"]) + (["joint"] if len(after["attributes"]) > 1 else [])
        for attribute in attributes:
            old, new = (
                figures["joint"] if attribute == "joint" else figures["attributes"][attribute]
                for figures in (before, after)
            )
            low, high = new["bias_ci"]
            rows.append(
                [
                    name,
                    attribute,
                    f"{old['bias']:.2f}",
                    f"{new['bias']:.2f} [{low:.2f}, {high:.2f}]",
                    f"{new['noise_floor']:.2f}",
                    f"{old['tv']:.2f} → {new['tv']:.2f}",
                    f"{after['clip_i']:.2f} (swapped {after['clip_i_swapped']:.2f})" if "clip_i" in after else "-",
                    f"{summary['wall_seconds'] / 60:.0f}",
                ]
            )
    return rows


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("summaries", nargs="+", type=Path, help="summary.json files")
    paths = parser.parse_args().summaries
    summaries = {path.parent.name: json.loads(path.read_text()) for path in paths}
    print(markdown_table(whole_table(next(iter(summaries.values()))) if len(paths) == 1 else one_row_each(summaries)))


if __name__ == "__main__":
    main()
