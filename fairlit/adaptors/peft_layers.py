"""The low-rank layers that a model carries, as peft has put them there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from peft.tuners.lora import LoraLayer
from torch import nn

from fairlit.adaptors.formats.low_rank import LowRank, LowRankUpdates, Origin, canonical_name
from fairlit.adaptors.formats.reading import check_start
from fairlit.errors import CheckpointError


def living_updates(component: str, module: Any, adapter: str) -> LowRankUpdates:
    """Return the updates of one adapter at weight 1, whatever ``set_adapters`` has set.

    Args:
        component: part of the pipeline that the model is.
        module: the model.
        adapter: peft's name of the adapter.

    Raises:
        CheckpointError: the adapter is more than low-rank updates of linear layers and convolutions, or was started
            by taking something off the base weights.
    """
    source = f"the {component} of the pipeline"
    config = module.peft_config[adapter]
    check_start(source, config.init_lora_weights)
    for name, value in (("bias", config.bias), ("modules_to_save", config.modules_to_save)):
        if value not in (None, "none", []):
            raise CheckpointError(
                f"{source}: {name}: got {value!r}, so weights of the base model are trained too; expected updates of "
                "low rank alone; save it with peft"
            )
    return {
        canonical_name(f"{component}.{name}"): _update(f"{source}: layer '{name}'", layer, adapter)
        for name, layer in _layers(module, adapter)
    }


def lora_layers(component: str, module: nn.Module) -> dict[str, Any]:
    """Return the layers that carry a LoRA, by canonical name.

    Args:
        component: part of the pipeline that the model is.
        module: the model.
    """
    return {
        canonical_name(f"{component}.{name}"): layer
        for name, layer in module.named_modules()
        if isinstance(layer, LoraLayer)
    }


def _layers(module: nn.Module, adapter: str) -> Iterator[tuple[str, Any]]:
    for name, layer in module.named_modules():
        if isinstance(layer, LoraLayer) and adapter in layer.r:
            yield name, layer


def _update(source: str, layer: Any, adapter: str) -> LowRank:
    """Return the update of one layer, its strength taken from what peft multiplies by and not from the settings."""
    if adapter not in layer.lora_A:
        raise CheckpointError(
            f"{source}: got a LoRA of an embedding; expected linear layers and convolutions alone; take the "
            "embedding out of its target_modules and train again"
        )
    magnitude = layer.lora_magnitude_vector[adapter].weight if adapter in layer.lora_magnitude_vector else None
    if magnitude is None and layer.lora_variant.get(adapter) is not None:
        kind = type(layer.lora_variant[adapter]).__name__
        raise CheckpointError(f"{source}: got peft's {kind}; expected a LoRA or a DoRA; save it with peft")
    up = layer.lora_B[adapter]
    return LowRank(
        layer.lora_A[adapter].weight, up.weight, _alpha(layer, adapter), Origin(source, "", ""), magnitude, up.bias
    )


def _alpha(layer: Any, adapter: str) -> float:
    """Return alpha relative to the rank: rank-stabilised LoRAs say another one."""
    present = layer.scaling[adapter]
    layer.set_scale(adapter, 1)
    scaling, layer.scaling[adapter] = layer.scaling[adapter], present
    rank, said = layer.r[adapter], float(layer.lora_alpha[adapter])
    return said if scaling == said / rank else float(scaling * rank)
