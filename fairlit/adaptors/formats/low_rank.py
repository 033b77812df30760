"""What every LoRA format says in its own words: an update of low rank for each of some layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

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
    """The update of one linear layer's weight [out, in]: ``alpha / rank * up @ down``.

    Attributes:
        down: [rank, in], called A elsewhere.
        up: [out, rank], called B elsewhere.
        alpha: strength of the update, relative to the rank.
        origin: where it was read.
    """

    down: Tensor
    up: Tensor
    alpha: float
    origin: Origin

    @property
    def rank(self) -> int:
        """Inner dimension."""
        return self.down.shape[0]

    def delta(self) -> Tensor:
        """Return what is added to the layer's weight, [out, in]."""
        return self.alpha / self.rank * (self.up @ self.down)


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
        CheckpointError: a factor is missing, or two do not fit each other; names the tensor and both shapes.
    """
    names: dict[str, dict[str, str]] = {}
    for name, layer, factor in named:
        names.setdefault(layer, {})[factor] = name
    updates: LowRankUpdates = {}
    for layer, factors in names.items():
        for factor, other in (("down", "up"), ("up", "down")):
            if factor not in factors:
                raise CheckpointError(
                    f"{source}: tensor '{factors[other]}' has no counterpart: the {factor} factor of layer '{layer}' "
                    "is missing; the file is incomplete: get it again"
                )
        down, up = tensors[factors["down"]], tensors[factors["up"]]
        if down.ndim != 2 or up.ndim != 2 or up.shape[1] != down.shape[0]:
            raise CheckpointError(
                f"{source}: tensor '{factors['up']}' of shape {list(up.shape)} does not fit '{factors['down']}' of "
                f"shape {list(down.shape)}; expected [out, rank] and [rank, in] of a linear layer"
            )
        rank = down.shape[0]
        updates[layer] = LowRank(
            down, up, alphas.get(layer, float(rank)), Origin(source, factors["down"], factors["up"])
        )
    return updates


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
        "use_dora": False,
        "lora_bias": False,
    }
