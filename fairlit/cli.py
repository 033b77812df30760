"""The command line: ``fairlit fit | validate | test | predict``, and the commands in `fairlit.commands`.

What a command does not need is not imported: an audit starts without Lightning.
"""

from __future__ import annotations

import sys
from importlib import import_module

from fairlit.commands import COMMANDS
from fairlit.errors import FairlitError, TrainingError, own_error


def main(args: list[str] | None = None) -> None:
    """Runs the command line.

    Args:
        args: what stands behind ``fairlit``; None: what the process was called with.

    Raises:
        SystemExit: after a message; with status 2 where the input is wrong, with 1 where training had to stop, with 130
            where somebody has stopped a command that can go on later.
    """
    given = sys.argv[1:] if args is None else args
    command = given[0] if given else ""
    try:
        if command in COMMANDS:
            import_module(COMMANDS[command]).run(given[1:])
        else:
            import_module("fairlit.commands.training").run(args)
    except (FairlitError, ValueError) as error:
        message = own_error(error)
        if message is None:
            raise
        stopped = isinstance(message, TrainingError)
        if not stopped or _is_first_process():  # of what all ranks raise together, one tells
            print(f"fairlit: {message}", file=sys.stderr)
        raise SystemExit(1 if stopped else 2) from error
    except KeyboardInterrupt:
        if command not in COMMANDS:  # the Trainer has its own way
            raise
        print("\nfairlit: stopped; the same command goes on from here", file=sys.stderr)
        raise SystemExit(130) from None


def _is_first_process() -> bool:
    from lightning.pytorch.utilities.rank_zero import rank_zero_only

    return getattr(rank_zero_only, "rank", 0) == 0


if __name__ == "__main__":
    main()
