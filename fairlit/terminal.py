"""Keeps the terminal for what a user can use."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairlit.io.foreign_text import on_its_lines

if TYPE_CHECKING:
    from rich.console import Console


def quieten_libraries() -> None:
    """No bar for each file that diffusers and transformers load, no false alarm; imports both."""
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    # What diffusers says when a pipeline carries peft layers.
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")


def plain_console(**settings: Any) -> Console:
    """Return a console of rich that takes brackets and colons in text for text, in tables too.

    Args:
        settings: of `rich.console.Console`.
    """
    from rich.console import Console

    return Console(markup=False, emoji=False, **settings)


def table_console() -> Console:
    """Return a plain console for tables; a log file has no width, and tables are not broken for its sake."""
    console = plain_console()
    return console if console.is_terminal else plain_console(width=140)


def tell(message: str) -> None:
    """Says on a terminal how far long work has come; where nobody watches, nothing."""
    console = plain_console(file=sys.stderr)
    if console.is_terminal:
        console.print(message, highlight=False)


def print_alarm(message: str) -> None:
    """Print what nobody must miss, in a red box; print nothing for an empty message."""
    if not message:
        return
    from rich.panel import Panel
    from rich.text import Text

    plain_console().print(Panel(Text(on_its_lines(message)), border_style="bold red"))


@contextmanager
def progress_bar(what: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show a progress bar while the block runs; on anything but a terminal, show nothing.

    Args:
        what: things that are counted.
        total: number of them.
        done: number of them that are done already.

    Yields:
        A function that is told how many more are done.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda count: bar.advance(task, count)


def escape_unwritable() -> None:
    """Have the terminal show what its encoding cannot write as escapes, such as file names that are not UTF-8."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as Python does for errors


def print_log() -> None:
    """Print what fairlit's loggers say, as commands do; in a notebook, `logging` decides."""
    logger = logging.getLogger("fairlit")
    if not any(isinstance(handler, _Printing) for handler in logger.handlers):
        logger.addHandler(_Printing())
    logger.setLevel(logging.INFO)
    logger.propagate = False


class _Printing(logging.Handler):
    """Prints each message as a line."""

    def emit(self, record: logging.LogRecord) -> None:
        print(on_its_lines(record.getMessage()), flush=True)


def print_warnings() -> None:
    """Show warnings that are meant for users as one line, without the place in the code."""
    usual = warnings.formatwarning

    def line(message: Any, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
        if issubclass(category, FutureWarning) and "fairlit" in Path(filename).parts:
            return f"fairlit: {message}\n"
        return usual(message, category, filename, lineno, line)

    if usual.__module__ != __name__:
        warnings.formatwarning = line
    warnings.filterwarnings("default", category=FutureWarning, module="fairlit")
