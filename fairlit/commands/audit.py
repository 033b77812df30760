"""``fairlit audit``: images judged against a target, with error bars and a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fairlit.auditing.config import AuditConfig
from fairlit.commands.method_names import METHODS
from fairlit.commands.old_names import AUDIT
from fairlit.commands.parsing import ConfigCommand
from fairlit.io.wording import counted

if TYPE_CHECKING:
    from fairlit.results.distances import SecondClassifierFigures

_SHOWN_PROMPTS = 20  # of each attribute; results.json has all

COMMAND = ConfigCommand(
    name="audit",
    config=AuditConfig,
    description=(
        "Judge images by a detector and a classifier of perceived attributes against a target distribution: a folder\n"
        "of images, or a model that they are generated with first. Writes report.html, results.json, per_image.csv\n"
        "and figures. Stopped or killed, the same command resumes."
    ),
    examples=(
        "audit images --classifier classifiers/judge --target '{gender: {female: 0.5, male: 0.5}}' --out audits/a",
        "audit --model stable-diffusion-v1-5 --adaptor runs/fair/adaptor_ema --prompts prompts.txt --images 48 \\\n"
        "    --classifier classifiers/judge --target target.yaml --out audits/b",
        "audit images --config audit.yaml --out audits/c",
    ),
    positional={"folder": "?"},
    several=("prompt",),
    renamed=AUDIT,
    shorthands={"method": METHODS},
)


def run(arguments: Sequence[str]) -> None:
    """Run ``fairlit audit ARGUMENTS``.

    Args:
        arguments: what follows the command on the command line.

    Raises:
        ConfigurationError: the arguments are wrong; lists everything that is.
        CheckpointError: a model is damaged.
    """
    config = COMMAND.parse(arguments)
    from fairlit.auditing.audit import audit
    from fairlit.auditing.outputs import REPORT, RESULTS, judge_alarm
    from fairlit.auditing.report_parts import title_of
    from fairlit.io.foreign_text import on_one_line
    from fairlit.terminal import print_alarm

    results = audit(config, command=COMMAND.line(arguments))
    print_alarm(judge_alarm(results.judge, results.figures.attributes))
    audited = results.audited
    print(f"verdict  {results.verdict.headline}")
    for name, statement in results.verdict.statements.items():
        print(f"         {on_one_line(title_of(name))}: {statement}")
    print(
        f"counted  {counted(results.figures.faces, 'face')} in {counted(audited.images, 'image')}; not counted: "
        f"{audited.no_face} without a face, {audited.damaged} damaged, {audited.skipped} missing or not an image"
    )
    if results.second_classifier is not None:
        _print_second_classifier(results.second_classifier)
    out = Path(config.out or ".")
    print(f"report   {out / REPORT}\nresults  {out / RESULTS}")


def _print_second_classifier(figures: SecondClassifierFigures) -> None:
    """Print on how many faces two classifiers agree, and what the distances of the prompts are made of."""
    from fairlit.auditing.report_parts import percent, title_of
    from fairlit.io.foreign_text import on_one_line
    from fairlit.results.tables import SECOND_CLASSIFIER_CAPTION, distance_rows, rich_table
    from fairlit.terminal import table_console

    for name, share in figures.agreement.items():
        interval = f" [{percent(share.low)}, {percent(share.high)}]" if share.low == share.low else ""
        subject = on_one_line(title_of(name))
        print(f"alike    {subject}: both classifiers agree on {percent(share.value)}{interval} of the faces")
    if not figures.distances:
        return
    rows = distance_rows(figures.distances, rest="rest", most=_SHOWN_PROMPTS)
    title = "what the distance to the target is made of, the farthest prompts first"
    table_console().print(rich_table(rows, title, caption=SECOND_CLASSIFIER_CAPTION))
