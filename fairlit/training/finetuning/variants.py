"""Versions of a finetuned model that are evaluated beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import overload

from typing_extensions import override

from fairlit.adaptors import Adaptor, AdaptorEMA

ORIGINAL, FINETUNED, AVERAGE = "original", "finetuned", "ema"


class Variants(Sequence[str]):
    """The names of a model's versions, the original first and the one to be kept last.

    A subclass may evaluate further versions: it extends `names` and `applied`.

    Args:
        adaptor: adaptor that is trained, attached to the model.
        ema: moving average of the adaptor; None: no such version.
    """

    def __init__(self, adaptor: Adaptor, ema: AdaptorEMA | None) -> None:
        self.adaptor, self.ema = adaptor, ema

    @property
    def names(self) -> list[str]:
        """The original, the finetuned model, and its moving average where there is one."""
        return [ORIGINAL, FINETUNED] + ([AVERAGE] if self.ema is not None else [])

    @contextmanager
    def applied(self, name: str) -> Iterator[None]:
        """Inside the block the model is the version of this name."""
        if name == ORIGINAL:
            with self.adaptor.disabled():
                yield
        elif name == AVERAGE and self.ema is not None:
            with self.ema.applied():
                yield
        else:
            yield

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    @override
    def __getitem__(self, index: int | slice) -> str | list[str]:
        return self.names[index]

    @override
    def __len__(self) -> int:
        return len(self.names)
