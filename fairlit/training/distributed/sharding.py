"""FSDP2: the frozen model in shards over processes, the few adaptor parameters whole on each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lightning.pytorch.strategies import ModelParallelStrategy, Strategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.optim import Optimizer
from typing_extensions import override


class FrozenShardsStrategy(ModelParallelStrategy):
    """Spreads the frozen model over the processes of each node; what is trained stays whole on all of them.

    So checkpoints are the ordinary ones of a single process, and either resumes from the other's. Lightning's own
    strategy would gather the frozen model for each of them, and expects shards when it reads one.

    Args:
        process_group_backend: of torch.distributed; null: what suits the devices.
    """

    def __init__(self, process_group_backend: str | None = None) -> None:
        super().__init__(save_distributed_checkpoint=False, process_group_backend=process_group_backend)

    @property
    @override
    def lightning_restore_optimizer(self) -> bool:
        return True

    @override
    def lightning_module_state_dict(self) -> dict[str, Any]:
        return {}  # the finetuner adds what is trained

    @override
    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        return Strategy.optimizer_state(self, optimizer)

    @override
    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        return Strategy.load_checkpoint(self, checkpoint_path, weights_only)

    @override
    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        Strategy.load_optimizer_state_dict(self, checkpoint)


def shard_frozen(modules: Iterable[nn.Module], mesh: DeviceMesh, whole: Iterable[nn.Parameter]) -> None:
    """Spread modules over processes, in place; each block is gathered only while it computes.

    Args:
        modules: frozen, but for `whole`.
        mesh: the processes; of two dimensions, the second shards and the first holds copies.
        whole: parameters that stay as they are on every process.
    """
    ignored = set(whole)
    for module in modules:
        for part in (*outermost_blocks(module), module):
            fully_shard(part, mesh=mesh, ignored_params=ignored)


def outermost_blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Return the elements of the lists of layers in a module, but not of lists within those."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from outermost_blocks(child)
