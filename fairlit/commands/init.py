"""``fairlit init``: a folder to start from."""

from __future__ import annotations

from collections.abc import Sequence

from fairlit.commands.parsing import ConfigCommand
from fairlit.io.starter import InitConfig

COMMAND = ConfigCommand(
    name="init",
    config=InitConfig,
    description=(
        "Write a starter config with comments, prompts, a config to audit with and a README into a new folder.\n"
        "With --example all of it runs as it is, on the example models (`pip install fairlit-miniature`)."
    ),
    examples=("init my_run", "init --example first_run"),
    positional={"folder": "?"},
)


def run(arguments: Sequence[str]) -> None:
    """Run ``fairlit init ARGUMENTS``.

    Args:
        arguments: what follows the command on the command line.

    Raises:
        ConfigurationError: the folder holds something already, or the example models are not installed.
    """
    config = COMMAND.parse(arguments)
    from fairlit.io.starter import write_starter

    for file in write_starter(config):
        print(f"wrote  {file}")
    print(f"next   cd {config.folder}, and read README.md")
