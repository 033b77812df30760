"""What a training checkpoint holds of the model: the adaptor, its average, and a gradient that is not finished yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fairlit.adaptors import Adaptor, AdaptorEMA
from fairlit.adaptors.base import require_same_shapes
from fairlit.errors import CheckpointError
from fairlit.training.distributed import ranks

# Beside Lightning's own `state_dict`, which is left empty: a sharding strategy loads and takes away that one.
_ADAPTOR_KEY, _EMA_KEY, _GRADIENTS_KEY = "adaptor", "adaptor_ema", "gradients"


def training_state(parameters: Mapping[str, nn.Parameter], ema: AdaptorEMA | None, unfinished: bool) -> dict[str, Any]:
    """Return the entries of a checkpoint; every rank calls this.

    Args:
        parameters: of the adaptor.
        ema: their average.
        unfinished: whether gradients of some batches wait for those of others before the optimiser steps. They are
            then averaged over ranks, which each rank's later average leaves as it is, and kept.
    """
    values = {name: value.detach().clone() for name, value in parameters.items()}
    state: dict[str, Any] = {"state_dict": {}, _ADAPTOR_KEY: values}
    if ema is not None:
        state[_EMA_KEY] = ema.state_dict()
    if unfinished:
        ranks.average_gradients(list(parameters.values()))
        state[_GRADIENTS_KEY] = {
            name: value.grad.clone() for name, value in parameters.items() if value.grad is not None
        }
    return state


@torch.no_grad()
def restore_training_state(
    checkpoint: Mapping[str, Any], adaptor: Adaptor, ema: AdaptorEMA | None
) -> dict[str, Tensor]:
    """Take over what `training_state` gave; all of it, or nothing if anything does not fit.

    Returns:
        The unfinished gradients, by parameter. They are for `restore_gradients` when training starts: Lightning clears
        gradients between loading a checkpoint and that.

    Raises:
        CheckpointError: the checkpoint belongs to another adaptor or another kind of training.
    """
    if _ADAPTOR_KEY not in checkpoint:
        raise CheckpointError("ckpt_path: the checkpoint holds no adaptor; give one that finetuning has written")
    parameters, saved = adaptor.parameters(), adaptor.own_names(checkpoint[_ADAPTOR_KEY])
    require_same_shapes("ckpt_path: the checkpoint", saved, parameters)
    if ema is not None:
        if _EMA_KEY not in checkpoint:
            raise CheckpointError("ckpt_path: the checkpoint was made without a moving average; set ema_decay to null")
        ema.load_state_dict(checkpoint[_EMA_KEY], adaptor.own_names)
    for name, parameter in parameters.items():
        parameter.copy_(saved[name])
    return adaptor.own_names(checkpoint.get(_GRADIENTS_KEY, {}))


def restore_gradients(gradients: dict[str, Tensor], parameters: Mapping[str, nn.Parameter]) -> None:
    """Put gradients back where batches to come are added to them; empty the mapping."""
    while gradients:
        name, gradient = gradients.popitem()
        parameters[name].grad = gradient.to(parameters[name], copy=True)
