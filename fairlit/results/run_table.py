"""The figures of finetuning runs as a Markdown table."""

# Annotations are evaluated here: jsonargparse would import what postponed ones name.

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fairlit.errors import Problems
from fairlit.results.figures import JOINT
from fairlit.results.record import Estimate
from fairlit.results.run import RunSummary
from fairlit.results.tables import distance_rows, markdown_table, naming_rows, operating_rows, shown_blocks, table_rows


@dataclass(frozen=True, kw_only=True)
class TableConfig:
    """Settings of `fairlit table`; see `run_table`.

    Args:
        summaries: summary.json of runs, or the folders of the runs
    """

    heading: ClassVar[str] = "Runs"

    summaries: Sequence[str] = ()


def run_table(config: TableConfig) -> str:
    """Return the figures of runs as a Markdown table.

    One run gives all its figures, before and after; several give one row a run and attribute.

    Args:
        config: settings.

    Raises:
        ConfigurationError: no run is given, or a file is missing or damaged; lists all that are.
    """
    runs: list[RunSummary] = []
    with Problems("table") as problems:
        if not config.summaries:
            problems.add("summaries: got nothing; give one summary.json or more")
        for path in config.summaries:
            with problems.collecting():
                runs.append(RunSummary.read(path))
    if len(runs) > 1:
        return markdown_table(_one_row_each(_names(config.summaries), runs))
    [run] = runs
    tables = [_whole(run)]
    tables += [operating_rows(run)] if run.operating_points else []
    tables += [distance_rows(run.distances)] if run.distances else []
    tables += [naming_rows(run)] if run.named_classes else []
    return "\n\n".join(map(markdown_table, tables))


def _names(paths: Sequence[str]) -> list[str]:
    """Return the names of the runs' folders, or their paths where two have one name."""
    folders = [path if path.is_dir() else path.absolute().parent for path in map(Path, paths)]
    names = [folder.name for folder in folders]
    return [name if names.count(name) == 1 else str(folder) for name, folder in zip(names, folders, strict=True)]


def _whole(run: RunSummary) -> list[list[str]]:
    rows = table_rows({"before": run.before, "after": run.after})
    return [["", "before", "after", "at best"], *[row for row in rows if row]]


def _one_row_each(names: Sequence[str], runs: Sequence[RunSummary]) -> list[list[str]]:
    rows = [["run", "attribute", "bias before", "bias after", "at best", "distance to target", "CLIP-I", "minutes"]]
    for name, run in zip(names, runs, strict=True):
        measured = run.after.similarities
        similar = f"{measured.measured['clip_i'].value:.2f}" if "clip_i" in measured.measured else "-"
        if measured.clip_i_swapped is not None:
            similar += f" (swapped {measured.clip_i_swapped:.2f})"
        for attribute in shown_blocks(run.after):
            old, new = (variant.distribution.blocks[attribute] for variant in (run.before, run.after))
            bias, distance = ["-"] * 3, f"{old.tv.value:.2f} → {new.tv.value:.2f}"
            if new.is_target_uniform:
                bias = [f"{old.bias.value:.2f}", _with_interval(new.bias), f"{new.bias.floor:.2f}"]
            else:
                distance = f"{old.tv.value:.2f} → {_with_interval(new.tv)}, at best {new.tv.floor:.2f}"
            rows.append(
                [
                    name,
                    "joint" if attribute == JOINT else attribute,
                    *bias,
                    distance,
                    similar,
                    f"{run.wall_seconds / 60:.0f}",
                ]
            )
    return rows


def _with_interval(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
