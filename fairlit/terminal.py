"""Keeps the terminal for what a user can use."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def quieten_libraries() -> None:
    """No bar for each file that diffusers and transformers load, no false alarm; imports both."""
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    # What diffusers says when a pipeline carries peft layers.
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")


def tell(message: str) -> None:
    """Says on a terminal how far long work has come; where nobody watches, nothing."""
    from rich.console import Console

    console = Console(file=sys.stderr)
    if console.is_terminal:
        console.print(message, highlight=False, markup=False)


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
