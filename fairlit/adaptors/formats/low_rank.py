"""What every LoRA format says in its own words: an update of low rank for each of some layers."""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fairlit.errors import CheckpointError


class Origin(NamedTuple):
    """Where an update was read, for messages.

    Attributes:
        source: the file.
        down: name of the tensor `LowRank.down` in it.
        up: name of the tensor `LowRank.up`.
    """

    source: str
    down: str
    up: str


@dataclass(frozen=True)
class LowRank:
    """The update of one layer's weight [out, in]: ``alpha / rank * up @ down``.

    Convolutions [out, in, h, w] have a `down` of [rank, in, h, w] and an `up` of [out, rank, 1, 1].

    Attributes:
        down: [rank, in], called A elsewhere.
        up: [out, rank], called B elsewhere.
        alpha: strength of the update, relative to the rank.
        origin: where it was read.
        magnitude: of a DoRA: norms that the rows of the updated weight are scaled to; None for a LoRA.
        bias: what the update adds to the layer's output beside, as peft's ``lora_bias`` trains it; None without.
    """

    down: Tensor
    up: Tensor
    alpha: float
    origin: Origin
    magnitude: Tensor | None = None
    bias: Tensor | None = None

    @property
    def rank(self) -> int:
        """Inner dimension."""
        return self.down.shape[0]

    def delta(self) -> Tensor:
        """Return what is added to the layer's weight, in float32 at least: half precision rounds products away."""
        down, up = (factor.to(torch.promote_types(factor.dtype, torch.float32)) for factor in (self.down, self.up))
        product = up.flatten(1) @ down.flatten(1)
        return self.alpha / self.rank * product.reshape(len(up), *down.shape[1:])

    def at_rank(self) -> LowRank:
        """Return the same update with an alpha that is its rank, so that readers which know no alpha see its strength.

        The factor goes into `up`: exactly where it is a power of two, else in float32 at least.
        """
        factor = self.alpha / self.rank
        exact = math.frexp(factor)[0] == 0.5
        up = self.up if exact else self.up.to(torch.promote_types(self.up.dtype, torch.float32))
        return dataclasses.replace(self, up=up * factor, alpha=float(self.rank))

    def has_delta(self, found: Tensor) -> bool:
        """Return whether `found` is the update's delta, as far as its precision and that of the factors go.

        Scaling a factor to another alpha rounds it in its own precision.
        """
        expected = self.delta()
        allowed = max(1e-5, *(4 * torch.finfo(tensor.dtype).eps for tensor in (self.down, self.up, found)))
        return found.shape == expected.shape and bool(
            (found.to(expected) - expected).abs().max() <= allowed * expected.abs().max()
        )

    def equals(self, other: LowRank) -> bool:
        """Return whether `other` is the same update, cast to this one's precision."""

        def equal(mine: Tensor | None, its: Tensor | None) -> bool:
            if mine is None or its is None:
                return mine is its
            return torch.equal(mine.cpu().flatten(), its.to(mine.dtype).cpu().flatten())

        return (
            equal(self.down, other.down)
            and equal(self.up, other.up)
            and equal(self.magnitude, other.magnitude)
            and equal(self.bias, other.bias)
            and math.isclose(self.alpha, other.alpha, rel_tol=1e-6)
        )


# Updates under the names of their layers in a diffusers file: `unet.mid_block...attn1.to_q`. CLIP's layers keep the
# `text_model` level that newer versions of transformers have dropped: `text_encoder.text_model.encoder.layers.0...`.
LowRankUpdates = dict[str, LowRank]


def pair(
    source: str, tensors: Mapping[str, Tensor], named: Iterable[tuple[str, str, str]], alphas: Mapping[str, float]
) -> LowRankUpdates:
    """Put the two factors of every update together.

    Args:
        source: the file, begins every message.
        tensors: as they are in the file.
        named: for each tensor its name, its layer, and whether it is the ``down`` or the ``up`` factor.
        alphas: of layers whose alpha is not their rank.

    Raises:
        CheckpointError: a factor is missing, is there twice, or two do not fit each other; names the tensor and both
            shapes.
    """
    names: dict[str, dict[str, str]] = {}
    for name, layer, factor in named:
        first = names.setdefault(layer, {}).setdefault(factor, name)
        if first != name and not torch.equal(tensors[first], tensors[name]):
            raise CheckpointError(
                f"{source}: tensor '{name}': got another one than '{first}', which is for the same layer; expected "
                "one adapter in a file; save each to a file of its own"
            )
    updates: LowRankUpdates = {}
    for layer, factors in names.items():
        for factor, other in (("down", "up"), ("up", "down")):
            if factor not in factors:
                raise CheckpointError(
                    f"{source}: tensor '{factors[other]}' has no counterpart: the {factor} factor of layer '{layer}' "
                    "is missing; the file is incomplete: get it again"
                )
        down, up = tensors[factors["down"]], tensors[factors["up"]]
        fitting = down.ndim == up.ndim and down.ndim in (2, 4) and up.shape[1] == down.shape[0] > 0
        if not fitting or up.shape[2:].numel() != 1:
            raise CheckpointError(
                f"{source}: tensor '{factors['up']}' of shape {list(up.shape)} does not fit '{factors['down']}' of "
                f"shape {list(down.shape)}; expected [out, rank] and [rank, in] of a linear layer, or "
                "[out, rank, 1, 1] and [rank, in, height, width] of a convolution"
            )
        rank = down.shape[0]
        updates[layer] = LowRank(
            down, up, alphas.get(layer, float(rank)), Origin(source, factors["down"], factors["up"])
        )
    return updates


def require_same(source: str, found: LowRankUpdates, expected: LowRankUpdates) -> None:
    """Refuse updates that are not `expected` ones, cast to their own precision.

    Args:
        source: what they were read from, the beginning of messages.
        found: updates that a reader gave back.
        expected: updates that were given to it.

    Raises:
        CheckpointError: a layer is missing, too many, or has another update; names it.
    """
    for layer in [*expected, *(layer for layer in found if layer not in expected)]:
        if layer not in found or layer not in expected or not found[layer].equals(expected[layer]):
            what = "none" if layer not in found else "one too many" if layer not in expected else "another one"
            raise CheckpointError(
                f"{source}: update of layer '{layer}': got {what} when read back; expected the one that was saved; do "
                "not use the file: save it again, with the versions of diffusers and peft that fairlit asks for"
            )


def component_of(layer: str) -> str:
    """Return the part of the pipeline that `layer` belongs to.

    Example:
        >>> component_of("text_encoder_2.text_model.encoder.layers.0.mlp.fc1")
        'text_encoder_2'
    """
    return layer.split(".", 1)[0]


def by_component(updates: LowRankUpdates) -> dict[str, LowRankUpdates]:
    """Return the updates of each part of the pipeline, under the names of their layers within it."""
    parts: dict[str, LowRankUpdates] = {}
    for layer, update in updates.items():
        component, name = layer.split(".", 1)
        parts.setdefault(component, {})[name] = update
    return parts


def is_factor(name: str) -> bool:
    """Return whether a tensor of this name is part of a low-rank update, in some layout.

    Example:
        >>> is_factor("unet.mid_block.attn1.to_q.lora_A.weight"), is_factor("<fairlit>")
        (True, False)
    """
    return _FACTOR.search(name) is not None


_FACTOR = re.compile(r"lora_|\.lora\.|_lora\.|hada_|lokr_|oft_")


def canonical_name(name: str) -> str:
    """Return the name of a tensor as every version of transformers and diffusers writes or reads it.

    Newer versions of transformers have no ``text_model`` level in the CLIP text encoder; files keep it, because
    older ones need it and diffusers drops it where it does not belong.

    Example:
        >>> canonical_name("text_encoder.encoder.layers.0.mlp.fc1.lora_A.weight")
        'text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_A.weight'
    """
    prefix = "text_encoder."
    if name.startswith(prefix) and not name.startswith(f"{prefix}text_model."):
        return f"{prefix}text_model.{name.removeprefix(prefix)}"
    return name


def module_name(component: str, layer: str) -> str:
    """Return the name of a layer in models of transformers 5, the end of its name in those of transformers 4.

    Example:
        >>> module_name("text_encoder", "text_model.encoder.layers.0.mlp.fc1")
        'encoder.layers.0.mlp.fc1'
    """
    return layer.removeprefix("text_model.") if component == "text_encoder" else layer


def peft_settings(component: str, updates: LowRankUpdates) -> dict[str, object]:
    """Return ranks, alphas and layers of one part of the pipeline as peft writes them: most common, and exceptions."""
    named = {module_name(component, layer): update for layer, update in updates.items()}
    rank = Counter(update.rank for update in named.values()).most_common(1)[0][0]
    alpha = Counter(update.alpha for update in named.values()).most_common(1)[0][0]
    return {
        "r": rank,
        "lora_alpha": alpha,
        "target_modules": sorted(named),
        "rank_pattern": {name: update.rank for name, update in sorted(named.items()) if update.rank != rank},
        "alpha_pattern": {name: update.alpha for name, update in sorted(named.items()) if update.alpha != alpha},
        "use_dora": any(update.magnitude is not None for update in named.values()),
        "lora_bias": any(update.bias is not None for update in named.values()),
    }


def peft_tensors(layer: str, update: LowRank) -> dict[str, Tensor]:
    """Return the tensors of one layer under the names that peft gives them."""
    tensors = {f"{layer}.lora_A.weight": update.down, f"{layer}.lora_B.weight": update.up}
    if update.bias is not None:
        tensors[f"{layer}.lora_B.bias"] = update.bias
    if update.magnitude is not None:
        tensors[f"{layer}.lora_magnitude_vector"] = update.magnitude
    return tensors
