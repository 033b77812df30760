"""The figures of finetuning runs as a Markdown table."""

# Annotations are evaluated here: jsonargparse would import what postponed ones name.

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from fairlit.errors import Problems
from fairlit.results.figures import JOINT
from fairlit.results.record import Estimate
from fairlit.results.run import RunSummary
from fairlit.results.tables import (
    FigureRow,
    distance_rows,
    figure_rows,
    markdown_table,
    naming_rows,
    operating_rows,
    shown_blocks,
    table_rows,
)


@dataclass(frozen=True, kw_only=True)
class TableConfig:
    """Settings of `fairlit table`; see `run_table`.

    Args:
        summaries: summary.json of runs, or the folders of the runs
        seeds: whether the runs are one run with different seeds: prints the mean of each figure over them, in brackets
            the least and the greatest
    """

    heading: ClassVar[str] = "Runs"

    summaries: Sequence[str] = ()
    seeds: bool = False


def run_table(config: TableConfig) -> str:
    """Return the figures of runs as a Markdown table.

    One run gives all its figures, before and after; several give one row a run and attribute, or, if they differ in
    their seeds alone, the mean and the range of all figures.

    Args:
        config: settings.

    Raises:
        ConfigurationError: no run is given, or a file is missing or damaged (lists all that are); runs that are to
            differ in their seeds alone have other targets.
    """
    runs: list[RunSummary] = []
    with Problems("table") as problems:
        if not config.summaries:
            problems.add("summaries: got nothing; give one summary.json or more")
        for path in config.summaries:
            with problems.collecting():
                runs.append(RunSummary.read(path))
    if config.seeds:
        with Problems("table") as problems:
            for problem in _differences(config.summaries, runs):
                problems.add(problem)
        return markdown_table(_mean_and_range(runs))
    if len(runs) > 1:
        return markdown_table(_one_row_each(_names(config.summaries), runs))
    [run] = runs
    tables = [_whole(run)]
    tables += [operating_rows(run)] if run.operating_points else []
    tables += [distance_rows(run.distances)] if run.distances else []
    tables += [naming_rows(run)] if run.named_classes else []
    return "\n\n".join(map(markdown_table, tables))


def _differences(paths: Sequence[str], runs: Sequence[RunSummary]) -> Iterator[str]:
    """Yield what keeps runs from being one with different seeds."""
    if len(runs) < 2:
        yield f"seeds: got {len(runs)} run; give those of two seeds or more"
    for path, run in zip(paths, runs, strict=True):
        if _kind(run) != _kind(runs[0]):
            yield f"summaries: {path} has other figures than {paths[0]}; give runs of one target and one test"


def _kind(run: RunSummary) -> tuple[Any, ...]:
    """Return what is the same of all seeds."""
    figures = run.after.distribution
    targets = {name: dict(block.target) for name, block in figures.blocks.items()}
    return targets, figures.images, figures.prompts, [row.title for row in _all_rows(run)]


def _all_rows(run: RunSummary) -> list[FigureRow]:
    rows = [row for section in figure_rows([run.before, run.after]) for row in section]
    named = [FigureRow(f"perceived as named, {one.label}", [one.before, one.after]) for one in run.named_classes]
    return rows + named


def _mean_and_range(runs: Sequence[RunSummary]) -> list[list[str]]:
    """Return each figure before and after, and at best: its mean over the runs, the least and the greatest."""
    rows = [["", "before", "after", "at best"]]
    for same in zip(*map(_all_rows, runs), strict=True):
        variants = zip(*(row.values for row in same), strict=True)
        best = [one.best for one in same if one.best is not None]
        shown = [_mean_with_range(values) for values in variants]
        rows.append([same[0].title, *shown, _mean_with_range(best) if best else ""])
    return rows


def _mean_with_range(values: Sequence[Estimate | float | None]) -> str:
    points = [value.value if isinstance(value, Estimate) else value for value in values]
    known = [point for point in points if point is not None and not math.isnan(point)]
    if len(known) < len(points):
        return "-"
    mean = f"{sum(known) / len(known):.3f}"
    return mean if min(known) == max(known) else f"{mean} [{min(known):.3f}, {max(known):.3f}]"


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
