"""Words of messages and reports that depend on a number."""

from __future__ import annotations


def counted(number: int, thing: str) -> str:
    """Return how many things there are.

    Example:
        >>> counted(1, "prompt"), counted(0, "image")
        ('1 prompt', '0 images')
    """
    return f"{number} {thing}{'' if number == 1 else 's'}"
