"""Callbacks that work with one kind of module alone."""

from __future__ import annotations

from typing import TypeVar

import lightning as L

from fairlit.errors import ConfigurationError

Module = TypeVar("Module", bound=L.LightningModule)


def required_module(callback: L.Callback, module: L.LightningModule, kind: type[Module]) -> Module:
    """Return the module that is trained, of the kind that a callback works with.

    Args:
        callback: callback that asks.
        module: module that the trainer has given it.
        kind: kind that it works with.

    Raises:
        ConfigurationError: the module is of another kind.
    """
    if not isinstance(module, kind):
        raise ConfigurationError(
            f"{type(callback).__name__}: got the model {type(module).__name__}; expected {kind.__name__}; leave the "
            "callback out of trainer.callbacks"
        )
    return module
