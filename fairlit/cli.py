"""The command line: ``fairlit COMMAND ...``, for the commands in `fairlit.commands`.

The front page, the version and unknown words are answered before anything heavy is imported, and a command imports
what it needs alone.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from fairlit.commands import COMMANDS, EXAMPLES, TRAINING
from fairlit.errors import ConfigurationError, FairlitError, TrainingError, own_error, surroundings_error
from fairlit.io.foreign_text import on_its_lines


def main(args: list[str] | None = None) -> None:
    """Runs the command line.

    Args:
        args: words after ``fairlit``; None: those that the process was called with.

    Raises:
        SystemExit: after a message; with status 2 where the input is wrong, with 1 where training had to stop or a disk
            or the network let it down, with 130 where somebody has stopped a command that can go on later, with 143
            where SIGTERM has stopped training or an evaluation.
    """
    given = sys.argv[1:] if args is None else args
    command = given[0] if given else "--help"
    try:
        _answer(command, given)
        sys.stdout.flush()
    except (FairlitError, ValueError) as error:
        message = own_error(error)
        if message is None:
            raise
        stopped = isinstance(message, TrainingError)
        if not stopped or _is_first_process():  # of what all ranks raise together, one tells
            print(f"fairlit: {on_its_lines(str(message))}", file=sys.stderr)
        raise SystemExit(1 if stopped else 2) from error
    except BrokenPipeError:  # whoever read our output, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        before = command in COMMANDS and COMMANDS[command].module == TRAINING  # later, training stops in its own way
        advice = "before training began; run the same command again" if before else "the same command goes on from here"
        print(f"\nfairlit: stopped{' ' if before else '; '}{advice}", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        explained = surroundings_error(error)
        if explained is None:
            raise
        print(f"fairlit: {on_its_lines(explained)}", file=sys.stderr)
        raise SystemExit(1) from error


def front_page() -> str:
    """Return what ``fairlit --help`` prints: all commands in groups, and three examples."""
    width = max(map(len, COMMANDS))
    lines = [
        "usage: fairlit COMMAND [OPTIONS]",
        "",
        "Finetune text-to-image diffusion models so that the people they draw follow a target distribution.",
    ]
    group = ""
    for command in COMMANDS.values():
        if command.group != group:
            group = command.group
            lines += ["", f"{group}:"]
        lines.append(f"  {command.name:<{width}}  {command.summary}")
    lines += ["", "Examples:", *(f"  {example}" for example in EXAMPLES)]
    lines += ["", "`fairlit COMMAND --help` lists the options of a command; `fairlit --version` names the version."]
    return "\n".join(lines)


def _answer(command: str, given: list[str]) -> None:
    if command in ("-h", "--help", "help"):
        print(front_page())
    elif command == "--version":
        from fairlit.version import __version__

        print(f"fairlit {__version__}")
    elif command not in COMMANDS:
        raise ConfigurationError(_explain_unknown(command, given))
    else:
        from fairlit.io.class_paths import import_from_current_folder
        from fairlit.terminal import escape_unwritable, print_log, print_warnings

        import_from_current_folder()
        escape_unwritable()
        print_log()
        print_warnings()
        module = COMMANDS[command].module
        import_module(module).run(given if module == TRAINING else given[1:])


def _explain_unknown(word: str, given: list[str]) -> str:
    if word.startswith("-"):
        named = next((entry for entry in given if entry in COMMANDS), None)
        if named is not None:
            return f"{word}: got an option before the command; write `fairlit {named} {word} ...`"
        return f"{word}: unknown option; begin with a command: {', '.join(COMMANDS)}"
    from difflib import get_close_matches

    near = get_close_matches(word, COMMANDS, n=1)
    advice = f"did you mean {near[0]}?" if near else f"commands: {', '.join(COMMANDS)}"
    return f"{word}: unknown command; {advice}"


def _is_first_process() -> bool:
    from lightning.pytorch.utilities.rank_zero import rank_zero_only

    return getattr(rank_zero_only, "rank", 0) == 0


if __name__ == "__main__":
    main()
