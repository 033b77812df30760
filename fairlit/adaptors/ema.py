"""Exponential moving average of the adaptor parameters alone; the frozen model is never copied."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from fairlit.adaptors.base import master_dtype, require_same_shapes
from fairlit.errors import CheckpointError, ConfigurationError


class AdaptorEMA:
    """Running average of parameters, one `update` after each optimiser step.

    After update number t (counted from 1) the shadow is ``d * shadow + (1 - d) * parameter`` with
    ``d = min(decay, (1 + t) / (10 + t))``. The minimum is a warm-up, the one that diffusers' EMAModel has: without it
    the average would consist of the initial weights for hundreds of steps. ``warm_up=False`` keeps ``d = decay``.

    Args:
        parameters: what `Adaptor.parameters` gives. The shadow starts as a copy of it, in float32 at least.
        decay: weight of the past, in [0, 1); 0.996 in Shen et al. 2024.
        warm_up: whether early updates forget faster.

    Raises:
        ConfigurationError: `decay` is out of range.

    Example:
        >>> weights = {"w": torch.nn.Parameter(torch.tensor([1.0]))}
        >>> average = AdaptorEMA(weights, decay=0.75, warm_up=False)
        >>> with torch.no_grad():
        ...     _ = weights["w"].fill_(5.0)
        >>> average.update()
        >>> with average.applied():
        ...     weights["w"].item()
        2.0
        >>> weights["w"].item()
        5.0
    """

    def __init__(self, parameters: Mapping[str, Tensor], decay: float = 0.996, warm_up: bool = True) -> None:
        if not 0 <= decay < 1:
            raise ConfigurationError(f"ema: decay is {decay}; give a number from 0 (no memory) to below 1")
        self.decay = decay
        self.warm_up = warm_up
        self.updates = 0
        self._parameters = dict(parameters)
        self._shadow = {
            name: parameter.detach().to(master_dtype(parameter.dtype), copy=True)
            for name, parameter in self._parameters.items()
        }
        self._applied = False

    @torch.no_grad()
    def update(self) -> None:
        """Take the parameters' present values into the average.

        Raises:
            RuntimeError: called inside `applied`, where the parameters hold the average itself.
        """
        if self._applied:
            raise RuntimeError("the averaged weights are applied: leave the `applied` block before updating them")
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.warm_up else self.decay
        for name, parameter in self._parameters.items():
            shadow = self._shadow[name]
            if shadow.device != parameter.device:  # the model was moved after the average was made
                shadow = self._shadow[name] = shadow.to(parameter.device)
            shadow.lerp_(parameter.to(shadow.dtype), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the block the parameters hold the average; afterwards what they held before, bit for bit."""
        before = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        nested, self._applied = self._applied, True
        try:
            _copy_into(self._parameters, self._shadow)
            yield
        finally:
            _copy_into(self._parameters, before)
            self._applied = nested

    def state_dict(self) -> dict[str, Any]:
        """Return everything that resuming needs: the number of updates and the shadow tensors (copies)."""
        return {"updates": self.updates, "shadow": {name: shadow.clone() for name, shadow in self._shadow.items()}}

    def load_state_dict(
        self, state: Mapping[str, Any], own_names: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = dict
    ) -> None:
        """Take over a `state_dict`.

        Args:
            state: what `state_dict` returned.
            own_names: function that gives saved tensors the names of the parameters.

        Raises:
            CheckpointError: it belongs to other parameters; names the first tensor that is wrong.
        """
        if not {"updates", "shadow"} <= set(state):
            raise CheckpointError(f"ema state: has {sorted(state)}, needs 'updates' and 'shadow': not an EMA state")
        shadow = own_names(state["shadow"])
        require_same_shapes("ema state", shadow, self._shadow)
        _copy_into(self._shadow, shadow)
        self.updates = int(state["updates"])


@torch.no_grad()
def _copy_into(destination: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> None:
    for name, tensor in destination.items():
        tensor.copy_(source[name])
