"""What fairlit raises when a user can do something about it.

Every message names the parameter, the value it got and the remedy. Where several things are wrong at
once, all of them are reported together, so nobody has to fix a config one run at a time.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

_MAX_LISTED = 50  # problems of one message


class FairlitError(Exception):
    """Base class of everything that fairlit raises on purpose."""


class ConfigurationError(FairlitError, ValueError):
    """The input is wrong: a config value, a file, or two that do not fit each other."""


class CheckpointError(FairlitError, RuntimeError):
    """A saved file is missing, damaged, or does not give back what was saved."""


class TrainingError(FairlitError, RuntimeError):
    """Training cannot go on, on any rank; what it has learnt so far is saved."""


class NotFiniteError(FairlitError, ArithmeticError):
    """A model gave NaN or infinity, of which neither a file nor a figure is made."""


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
        self._known: set[str] = set()
        self._raised: ConfigurationError | None = None

    def add(self, message: str) -> None:
        """Notes one problem, once; `message` says parameter, value and remedy."""
        if message not in self._known:
            self._known.add(message)
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
        """Raises `ConfigurationError` with all messages, if there are any; within the block it ends it early."""
        if not self.messages:
            return
        self._raised = ConfigurationError(self._text())
        raise self._raised

    def _text(self) -> str:
        if len(self.messages) == 1:
            [message] = self.messages  # of a parameter that is the subject itself: it is named once
            return message if message.startswith(f"{self.subject}: ") else f"{self.subject}: {message}"
        inner = [message.replace("\n", "\n   ") for message in self.messages[:_MAX_LISTED]]  # lists within the list
        listed = "\n".join(f"  {number}. {message}" for number, message in enumerate(inner, 1))
        if len(self.messages) > _MAX_LISTED:
            listed += f"\n  and {len(self.messages) - _MAX_LISTED} more"
        return f"{self.subject}: {len(self.messages)} problems\n{listed}"

    def __enter__(self) -> Problems:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and error is self._raised:  # all is said
            return
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


def surroundings_error(error: BaseException) -> str | None:
    """Return one line about a disk, a folder or a network that let a command down; None for every other error.

    Libraries wrap what the system says, so the errors that led to `error` are looked at as well.

    Example:
        >>> surroundings_error(OSError(errno.ENOSPC, "No space left on device", "out/images"))
        'out/images: the disk is full; free some space, or give another folder, and run the same command again'
    """
    seen: list[BaseException] = []
    found: BaseException | None = error
    while found is not None and found not in seen:
        seen.append(found)
        found = found.__cause__ or found.__context__
    for entry in seen:
        if (told := _hub_or_network(entry)) or (told := _disk(entry)):
            return told
    return None


_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_IN_WORDS = ("No space left on device", "PytorchStreamWriter failed writing", "] . unexpected pos ")
"""What safetensors and torch say."""

_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


def _disk(error: BaseException) -> str | None:
    text = str(error)
    if isinstance(error, OSError) and error.errno is not None:
        place = error.filename if isinstance(error.filename, str) else "file system"
        if error.errno in _NOT_ALLOWED:
            return f"{place}: cannot be opened ({error.strerror}); give a place that you may read and write"
        if error.errno not in _FULL:
            return f"{place}: {error.strerror}; check the path, and run the same command again"
    elif any(words in text for words in _FULL_IN_WORDS):
        place = "file system"  # these write on their own, and name no file
    else:
        return None
    return f"{place}: the disk is full; free some space, or give another folder, and run the same command again"


def _hub_or_network(error: BaseException) -> str | None:
    library = type(error).__module__.partition(".")[0]
    unreachable = library in ("requests", "httpx", "urllib3") and "Connect" in type(error).__name__
    hub = library == "huggingface_hub" and isinstance(error, OSError)
    if not (unreachable or hub or "couldn't connect to 'https://huggingface.co'" in str(error)):
        return None
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return f"model hub: cannot be reached, or has no such model ({reason}); give the folder of a model on this machine"
