"""What an evaluation prints when it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from fairlit.callbacks.evaluation.grouping import main_figures
from fairlit.callbacks.evaluation.pictures import TITLES
from fairlit.io.wording import counted
from fairlit.results.run import GroupedFigures, RunSummary, VariantFigures
from fairlit.results.tables import (
    DISTANCE_CAPTION,
    distance_rows,
    naming_rows,
    operating_rows,
    results_table,
    rich_table,
)
from fairlit.terminal import table_console
from fairlit.training import FairFinetuner

Report = list[Table | str]


def validation_report(module: FairFinetuner, results: GroupedFigures, picture: Path) -> Report:
    """Return the table of `fairlit validate`, and where its picture is."""
    columns = {TITLES[variant]: figures for variant, figures in main_figures(results).items()}
    return [results_table(columns, _title(module, columns)), f"picture  {picture}"]


def test_report(module: FairFinetuner, summary: RunSummary, pictures: Sequence[Path], *, path: Path) -> Report:
    """Return the tables of `fairlit test`, and where its files are."""
    columns = {"before": summary.before, "after": summary.after}
    report: Report = [results_table(columns, _title(module, columns))]
    for group, variants in summary.families.items():
        columns = {"before": variants["original"], "after": variants[summary.after_is]}
        report.append(results_table(columns, f"{group}: {_title(module, columns)}"))
    if summary.operating_points:
        report.append(rich_table(operating_rows(summary), "by guidance scale, strength and solver steps"))
    if summary.distances:
        title = "what the distance that remains is made of"
        report.append(rich_table(distance_rows(summary.distances), title, caption=DISTANCE_CAPTION))
    if summary.named_classes:
        report.append(rich_table(naming_rows(summary), "prompts that name a class", caption=""))
    return [*report, *(f"picture  {picture}" for picture in pictures), f"summary  {path}"]


def print_report(report: Report) -> None:
    """Print a report; nothing where there is none."""
    if not report:
        return
    console = table_console()
    console.print()
    for part in report:
        console.print(part, soft_wrap=isinstance(part, str))


def _title(module: FairFinetuner, columns: Mapping[str, VariantFigures]) -> str:
    figures = next(iter(columns.values())).distribution
    title = f"{counted(figures.prompts, 'prompt')}, {counted(figures.images, 'image')} each way, judged by "
    if module.models.audit_classifier is None:
        return title + "the classifier that was also trained against: take the figures with care"
    return title + module.models.judge
