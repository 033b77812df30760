"""Memory of a computation that does not take place: bytes of tensors without content that are alive at once."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

# What autocast does in float32 on GPUs but not on CPUs (torch's autocast op reference).
_FULL_PRECISION_ON_GPUS = {functional.group_norm, functional.layer_norm, functional.softmax, torch.softmax}


class LiveMemory(TorchDispatchMode):
    """Inside the block, adds up the storages that operations make and takes off those that are let go.

    Works on real tensors and, for models that no machine could hold, on those of torch's FakeTensorMode, whose context
    must be around it. What existed before is not counted.

    Attributes:
        now: bytes alive.
        peak: most bytes alive at once.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(
        self, operation: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run one operation and note the new storages in what it returns."""
        known = {_storage(tensor)._cdata for tensor in _tensors((args, kwargs))}
        result = operation(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            storage = _storage(tensor)
            key = storage._cdata
            if key not in known and key not in self._sizes:
                self._sizes[key] = storage.nbytes()
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._let_go, key)
        return result

    def _let_go(self, key: int) -> None:
        self.now -= self._sizes.pop(key, 0)


class GpuAutocast(TorchFunctionMode):
    """Makes the CPU's autocast treat normalisation and softmax as that of GPUs does, in full precision."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run one function."""
        if function in _FULL_PRECISION_ON_GPUS and torch.is_autocast_enabled("cpu"):
            args = _pytree.tree_map_only(Tensor, _as_float, args)
        return function(*args, **(kwargs or {}))


def outline(module: nn.Module) -> dict[int, nn.Parameter]:
    """Turn a module on the meta device into one of fake CPU tensors, in place; a FakeTensorMode must be on.

    Autocast and fused attention behave on them as on real ones, which meta tensors do not have.

    Returns:
        What became of each parameter, by the id of the old one.
    """
    made: dict[int, nn.Parameter] = {}
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None and id(parameter) not in made:
                values = torch.empty(parameter.shape, dtype=parameter.dtype, device="cpu")
                made[id(parameter)] = nn.Parameter(values, requires_grad=parameter.requires_grad)
            if parameter is not None:
                part._parameters[name] = made[id(parameter)]
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device="cpu")
    return made


def bytes_of(*modules: nn.Module | None) -> int:
    """Return the bytes of the parameters and buffers of modules, those that they share once."""
    tensors = {
        id(tensor): tensor.numel() * tensor.element_size()
        for module in modules
        if module is not None
        for tensor in (*module.parameters(), *module.buffers())
    }
    return sum(tensors.values())


def _tensors(tree: Any) -> Iterable[Tensor]:
    return (leaf for leaf in _pytree.tree_leaves(tree) if isinstance(leaf, Tensor))


def _storage(tensor: Tensor) -> Any:
    return tensor.untyped_storage()


def _as_float(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
