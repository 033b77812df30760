"""What fairlit raises when a user can do something about it.

Every message names the parameter, the value it got and the remedy. Where several things are wrong at
once, all of them are reported together, so nobody has to fix a config one run at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType


class FairlitError(Exception):
    """Base class of everything that fairlit raises on purpose."""


class ConfigurationError(FairlitError, ValueError):
    """The input is wrong: a config value, a file, or two that do not fit each other."""


class CheckpointError(FairlitError, RuntimeError):
    """A saved file is missing, damaged, or does not give back what was saved."""


class TrainingError(FairlitError, RuntimeError):
    """Training cannot go on, on any rank; what it has learnt so far is saved."""


class Problems:
    """Collects problems and raises them as one `ConfigurationError`.

    Example:
        >>> with Problems("target") as problems:
        ...     problems.add("shares of 'gender' sum to 0.9 instead of 1: raise one of them by 0.1")
        Traceback (most recent call last):
        ...
        fairlit.errors.ConfigurationError: target: shares of 'gender' sum to 0.9 instead of 1: raise one of them by 0.1
    """

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.messages: list[str] = []

    def add(self, message: str) -> None:
        """Notes one problem, once; `message` says parameter, value and remedy."""
        if message not in self.messages:
            self.messages.append(message)

    def at_least(self, name: str, value: float, minimum: int) -> None:
        """Notes a number below `minimum`; NaN is."""
        if not value >= minimum:
            self.add(f"{name}: got {value}; give {f'at least {minimum}' if minimum else '0 or more'}")

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Notes a `ConfigurationError` raised inside the block and goes on after it."""
        try:
            yield
        except ConfigurationError as error:
            self.add(str(error))

    def raise_if_any(self) -> None:
        """Raises `ConfigurationError` with all messages, if there are any."""
        if len(self.messages) == 1:
            raise ConfigurationError(f"{self.subject}: {self.messages[0]}")
        if self.messages:
            inner = [message.replace("\n", "\n   ") for message in self.messages]  # lists within the list
            listed = "\n".join(f"  {number}. {message}" for number, message in enumerate(inner, 1))
            raise ConfigurationError(f"{self.subject}: {len(self.messages)} problems\n{listed}")

    def __enter__(self) -> Problems:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, ConfigurationError):  # one more problem, met while collecting
            self.add(str(error))
            self.raise_if_any()
        if error is None:
            self.raise_if_any()


def own_error(error: BaseException | None) -> FairlitError | None:
    """The fairlit error that `error` is or was raised from: jsonargparse wraps what constructors raise."""
    while error is not None and not isinstance(error, FairlitError):
        error = error.__cause__
    return error
