"""``fairlit fit | validate | test | predict``: their help at once, everything else by Lightning's command line."""

from __future__ import annotations

from collections.abc import Sequence

from fairlit.lazy import heavy_imports


def run(args: Sequence[str]) -> None:
    """Runs ``fairlit ARGS``, whose first word is one of the four commands.

    Args:
        args: words on the command line after ``fairlit``.

    Raises:
        ConfigurationError: the config is wrong; lists everything that is.
    """
    command, *rest = args
    if {"-h", "--help"} & set(rest):
        from fairlit.commands.fit_help import help_text

        print(help_text(command))
        return
    with heavy_imports():
        from fairlit.commands import training

    training.run([command, *("--help" if word == "--help_all" else word for word in rest)])
