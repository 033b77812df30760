"""The networks that attribute classifiers may be made of: torchvision's, by name, without their last layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from torchvision import models

from fairlit.errors import ConfigurationError


@dataclass(frozen=True)
class Architecture:
    """How to build one of torchvision's networks.

    Attributes:
        build: torchvision's constructor, called without pretrained weights.
        arguments: Names of the arguments that a config may set.
        last_layer: Path of the classifying layer, which is taken off.
    """

    build: Callable[..., nn.Module]
    arguments: frozenset[str]
    last_layer: str


MOBILENET_ARGUMENTS = frozenset({"width_mult", "reduced_tail", "dilated", "dropout"})

ARCHITECTURES: dict[str, Architecture] = {
    "mobilenet_v3_large": Architecture(models.mobilenet_v3_large, MOBILENET_ARGUMENTS, "classifier.3"),
    "mobilenet_v3_small": Architecture(models.mobilenet_v3_small, MOBILENET_ARGUMENTS, "classifier.3"),
    "resnet18": Architecture(models.resnet18, frozenset(), "fc"),
    "resnet34": Architecture(models.resnet34, frozenset(), "fc"),
    "shufflenet_v2": Architecture(
        models.ShuffleNetV2, frozenset({"stages_repeats", "stages_out_channels"}), "fc"
    ),  # without arguments: the x1.0 network
}
SHUFFLENET_DEFAULTS: dict[str, Any] = {"stages_repeats": [4, 8, 4], "stages_out_channels": [24, 116, 232, 464, 1024]}


def architecture_problems(name: str, arguments: Mapping[str, Any]) -> list[str]:
    """What is wrong with a choice of architecture, in words; empty if nothing is."""
    if name not in ARCHITECTURES:
        return [f"architecture is {name!r}: choose one of {', '.join(sorted(ARCHITECTURES))}"]
    allowed = ARCHITECTURES[name].arguments
    return [
        f"architecture_args has {argument!r}, which {name} does not take: "
        + (f"it takes {', '.join(sorted(allowed))}" if allowed else "leave architecture_args empty")
        for argument in arguments
        if argument not in allowed
    ]


def build_backbone(name: str, arguments: Mapping[str, Any]) -> tuple[nn.Module, int]:
    """Builds a randomly initialised network that turns images into features.

    Args:
        name: A key of `ARCHITECTURES`.
        arguments: Arguments of torchvision's constructor, out of the ones listed there.

    Returns:
        The network, from [N, 3, H, W] to [N, D], and D.

    Raises:
        ConfigurationError: Unknown name or argument, or a value that torchvision refuses.
    """
    if problems := architecture_problems(name, arguments):
        raise ConfigurationError("; ".join(problems))
    architecture = ARCHITECTURES[name]
    defaults = SHUFFLENET_DEFAULTS if name == "shufflenet_v2" else {}
    try:
        network = architecture.build(**{**defaults, **arguments})
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"architecture_args is {dict(arguments)}, which torchvision refuses for {name} ({error}): correct the value"
        ) from error
    last_layer = network.get_submodule(architecture.last_layer)
    assert isinstance(last_layer, nn.Linear)
    network.set_submodule(architecture.last_layer, nn.Identity())
    return network, last_layer.in_features
