"""LoRA files in every layout that diffusers, peft and kohya-ss' scripts write or once wrote: whole, or refused."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from peft.utils.other import get_pattern_key
from torch import Tensor

from fairlit.adaptors.formats.kohya import layer_prefixes
from fairlit.adaptors.formats.low_rank import (
    LowRank,
    LowRankUpdates,
    canonical_name,
    component_of,
    module_name,
    pair,
)
from fairlit.diffusion.skeleton import ADAPTED_PARTS
from fairlit.errors import CheckpointError

_ENDINGS = {
    "down": r"\.lora_A{adapter}\.weight|\.lora_down\.weight|\.lora(?:_linear_layer)?\.down\.weight",
    "up": r"\.lora_B{adapter}\.weight|\.lora_up\.weight|\.lora(?:_linear_layer)?\.up\.weight",
    "bias": r"\.lora_B{adapter}\.bias",
    "magnitude": r"\.lora_magnitude_vector{adapter}(?:\.weight)?|\.dora_scale",
    "alpha": r"\.alpha",
}
_ADAPTER = r"(?:\.(?!weight$|bias$)[^.]+)?"  # peft's name of the adapter, where the state of a model was saved
_TENSOR = re.compile(
    "(?P<layer>.+?)(?:"
    + "|".join(f"(?P<{part}>{ending.replace('{adapter}', _ADAPTER)})" for part, ending in _ENDINGS.items())
    + ")"
)
_PROCESSOR = re.compile(r"\.to_(?P<kind>q|k|v|out)_lora\.(?=down|up)")  # diffusers before 0.22
_UNET_LAYER = re.compile(r"(?:conv_in|conv_out|time_embedding|add_embedding|down_blocks|mid_block|up_blocks)\b")
_CLIP_LAYER = re.compile(r"(?:text_model|encoder\.layers)\.")
_KOHYA = re.compile(r"lora_(?:unet|te|te1|te2)_[^.]+$")
_OTHER_METHODS = {"hada_": "a LoHa", "lokr_": "a LoKr", "oft_": "an OFT", "lora_mid": "a LoRA with a third factor"}
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")  # starts that peft also takes off the base weights


class _Place(NamedTuple):
    layer: str
    part: str


def read_lora(
    source: str,
    tensors: Mapping[str, Tensor],
    settings: Mapping[str, Any],
    *,
    layers: Collection[str] | None = None,
    component: str = "",
) -> LowRankUpdates:
    """Return the updates in a LoRA file.

    Args:
        source: the file, for messages.
        tensors: as they are in it.
        settings: peft's, with the part of the pipeline before each name (``unet.lora_alpha``) or without. Where
            neither they nor a tensor tell the alpha, it is the rank, as diffusers takes it.
        layers: names of the base model's layers, which the names of kohya-ss' layout are made of; None: unknown.
        component: part of the pipeline that names without one belong to; empty: what they look like.

    Raises:
        CheckpointError: a tensor has no place, lacks its counterpart, or means something else than a low-rank update;
            or the settings are damaged.
    """
    kohya_names = _kohya_names(layers or ())
    named: list[tuple[str, str, str]] = []
    extras: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        place = _place(name, kohya_names, component)
        if place is None:
            raise CheckpointError(f"{source}: tensor '{name}': {_why_not(name, tensor, layers is not None)}")
        if place.part in ("down", "up"):
            named.append((name, place.layer, place.part))
        else:
            extras.setdefault(place.layer, {})[place.part] = tensor
    adapted = {layer for _, layer, _ in named}
    for layer, found in extras.items():
        if layer not in adapted:
            raise CheckpointError(
                f"{source}: layer '{layer}': got {', '.join(sorted(found))} alone; expected two factors as well; the "
                "file is incomplete: get it again"
            )
    updates = pair(source, tensors, named, {})
    return {layer: _completed(update, layer, extras.get(layer, {}), settings) for layer, update in updates.items()}


def check_start(source: str, start: object) -> None:
    """Refuse an update that is only right on base weights that its start has changed.

    Args:
        source: where it comes from, for messages.
        start: peft's ``init_lora_weights``.

    Raises:
        CheckpointError: the start is one of PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA.
    """
    if isinstance(start, str) and start.lower().startswith(_CHANGES_BASE):
        raise CheckpointError(
            f"{source}: init_lora_weights: got {start!r}, which changes the base weights too; expected a start that "
            "leaves them; convert it with peft's save_pretrained(..., path_initial_model_for_weight_conversion=...)"
        )


def _place(name: str, kohya_names: Mapping[str, str], component: str) -> _Place | None:
    """Return the layer of one tensor, under its name in `LowRankUpdates`, and which part of the update it is."""
    plain = _PROCESSOR.sub(lambda match: _old_layer(name, match["kind"]), name.replace(".processor.", "."))
    match = _TENSOR.fullmatch(plain)
    if match is None:
        return None
    part = next(part for part in _ENDINGS if match[part])
    if match["layer"] in kohya_names:
        return _Place(kohya_names[match["layer"]], part)
    first, _, rest = match["layer"].partition(".")
    layer = (rest if first in ADAPTED_PARTS else match["layer"]).removeprefix("base_model.model.")
    owner = first if first in ADAPTED_PARTS else component
    if not owner and _UNET_LAYER.match(layer):
        owner = "unet"
    if not owner and _CLIP_LAYER.match(layer):
        owner = "text_encoder"
    return _Place(canonical_name(f"{owner}.{layer}"), part) if owner else None


def _old_layer(name: str, kind: str) -> str:
    """Return the end of a layer's name for an attention processor of diffusers: CLIP's and the U-Net's differ."""
    if ".self_attn." in name:
        return f".{kind}_proj.lora."
    return f".to_{'out.0' if kind == 'out' else kind}.lora."


def _kohya_names(layers: Collection[str]) -> dict[str, str]:
    """Return the names in kohya-ss' layout of all layers."""
    return {
        f"{prefix}_{layer.partition('.')[2].replace('.', '_')}": layer
        for layer in layers
        for prefix in layer_prefixes(component_of(layer))
    }


def _why_not(name: str, tensor: Tensor, has_layers: bool) -> str:
    """Return why a tensor has no place, and the remedy."""
    for part, method in _OTHER_METHODS.items():
        if part in name:
            return f"got {method}; expected a LoRA or a DoRA; merge it with the program that made it"
    if _KOHYA.match(name.partition(".")[0]):
        if not has_layers:
            return "got the layout of kohya-ss, whose names only a base model explains; give the base model as well"
        return "got a layer that the base model does not have; load it into the base model that it was made with"
    return (
        f"got shape {list(tensor.shape)} under a name of no known layout; expected "
        "<component>.<layer>.lora_A.weight and the like; give a file that fairlit, diffusers, peft or kohya-ss wrote"
    )


def _setting(settings: Mapping[str, Any], layer: str, name: str) -> Any:
    return settings.get(f"{component_of(layer)}.{name}", settings.get(name))


def _completed(update: LowRank, layer: str, extras: Mapping[str, Tensor], settings: Mapping[str, Any]) -> LowRank:
    """Return the update with its true alpha, and with what a DoRA or a trained bias adds."""
    source = update.origin.source
    check_start(source, _setting(settings, layer, "init_lora_weights"))
    magnitude = extras.get("magnitude")
    if magnitude is None and _setting(settings, layer, "use_dora"):
        raise CheckpointError(
            f"{source}: layer '{layer}': got a DoRA without its magnitudes; expected a tensor "
            f"'{layer}.lora_magnitude_vector'; the file is incomplete: get it again"
        )
    if magnitude is not None:
        magnitude = _rows(source, layer, magnitude, len(update.up), is_convolution=update.up.ndim == 4)
    if "alpha" in extras:
        alpha = _positive(source, layer, extras["alpha"].item() if extras["alpha"].numel() == 1 else None)
    else:
        alpha = settings_alpha(source, settings, layer, update.rank)
    return dataclasses.replace(update, alpha=alpha, magnitude=magnitude, bias=extras.get("bias"))


def settings_alpha(source: str, settings: Mapping[str, Any], layer: str, rank: int) -> float:
    """Return the alpha of one layer that peft's settings tell, relative to the rank; the rank if they tell none.

    Args:
        source: the file, for messages.
        settings: see `read_lora`.
        layer: name of the layer in `LowRankUpdates`.
        rank: rank of the layer's update.

    Raises:
        CheckpointError: the settings are damaged.
    """
    name = layer.split(".", 1)[1]
    pattern = _setting(settings, layer, "alpha_pattern") or {}
    if not isinstance(pattern, dict):
        raise CheckpointError(
            f"{source}: alpha_pattern: got {type(pattern).__name__}; expected an object; save the adaptor again"
        )
    alpha = _setting(settings, layer, "lora_alpha")
    try:
        for known in (module_name(component_of(layer), name), name):  # of transformers 5 and 4
            alpha = pattern.get(get_pattern_key(list(pattern), known), alpha)
    except re.error as error:
        raise CheckpointError(
            f"{source}: alpha_pattern: got a name that is no pattern ({error}); save the adaptor again"
        ) from error
    if alpha is None:
        return float(rank)
    return _positive(source, layer, alpha) * (math.sqrt(rank) if _setting(settings, layer, "use_rslora") else 1.0)


def _positive(source: str, layer: str, alpha: object) -> float:
    """Return an alpha that a file tells, if it is one."""
    if isinstance(alpha, (int, float)) and not isinstance(alpha, bool) and 0 < alpha < math.inf:
        return float(alpha)
    raise CheckpointError(
        f"{source}: layer '{layer}': got alpha {alpha!r}; expected a number above 0; save the adaptor again"
    )


def _rows(source: str, layer: str, magnitude: Tensor, rows: int, *, is_convolution: bool) -> Tensor:
    """Return a DoRA's magnitudes in peft's shape, [out] or [1, out, 1, 1]."""
    if magnitude.numel() == rows and magnitude.ndim <= 2 and magnitude.shape[0] == rows and not is_convolution:
        return magnitude.reshape(rows)  # kohya-ss' scripts write [out, 1]
    if is_convolution and list(magnitude.shape) == [1, rows, 1, 1]:
        return magnitude
    raise CheckpointError(
        f"{source}: layer '{layer}': got DoRA magnitudes of shape {list(magnitude.shape)}; expected one for each of "
        f"{rows} rows; merge the adaptor with the program that made it"
    )
