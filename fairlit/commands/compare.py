"""``fairlit compare``: mitigation methods beside each other, on the same prompts and noise, under one judge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fairlit.commands.old_names import COMPARE
from fairlit.commands.parsing import ConfigCommand
from fairlit.comparison.config import CompareConfig

COMMAND = ConfigCommand(
    name="compare",
    config=CompareConfig,
    description=(
        "Generate images by several methods from the same prompts and the same noise, and judge them alike. Methods\n"
        "stand in a config file, by name. Writes report.html, results.json, per_image.csv and figures. Stopped or\n"
        "killed, the same command resumes."
    ),
    examples=(
        "compare --config compare/miniature_gender --adaptor runs/demo/adaptor_ema",
        "compare --config compare/miniature_gender --only '[UCE]' --max_prompts 2 --images 8 --out try",
        "compare --config my_methods.yaml --prompts prompts.txt --model stable-diffusion-v1-5 --out comparison",
    ),
    positional={"prompt": "*"},
    renamed=COMPARE,
)


def run(arguments: Sequence[str]) -> None:
    """Run ``fairlit compare ARGUMENTS``.

    Args:
        arguments: what follows the command on the command line.

    Raises:
        ConfigurationError: the arguments are wrong; lists everything that is.
        CheckpointError: a model or adaptor is damaged.
    """
    config = COMMAND.parse(arguments)
    from fairlit.auditing.outputs import REPORT, RESULTS, judge_alarm
    from fairlit.comparison.compare import compare
    from fairlit.comparison.tables import group_table, method_table
    from fairlit.terminal import plain_console, print_alarm

    results = compare(config, command=COMMAND.line(arguments))
    print_alarm(judge_alarm(results.judge, results.methods[results.reference].figures.attributes))
    console = plain_console()
    console.print(method_table(results))
    if (groups := group_table(results)) is not None:
        console.print(groups)
    print("Attributes are perceived, and classifiers err.")
    out = Path(config.out or ".")
    print(f"report   {out / REPORT}\nresults  {out / RESULTS}")
