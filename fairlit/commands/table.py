"""``fairlit table``: the figures of finetuning runs as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from fairlit.commands.parsing import ConfigCommand
from fairlit.results.run_table import TableConfig

COMMAND = ConfigCommand(
    name="table",
    config=TableConfig,
    description=(
        "Print the figures of finetuning runs as a Markdown table: one run's before and after, or one row a run."
    ),
    examples=("table runs/demo/summary.json", "table runs/*/summary.json", "table runs/demo_seed_* --seeds"),
    positional={"summaries": "*"},
)


def run(arguments: Sequence[str]) -> None:
    """Run ``fairlit table ARGUMENTS``.

    Args:
        arguments: what follows the command on the command line.

    Raises:
        ConfigurationError: a file is missing or damaged; lists all that are.
    """
    config = COMMAND.parse(arguments)
    from fairlit.results.run_table import run_table

    print(run_table(config))
