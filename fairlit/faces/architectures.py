"""The networks that attribute classifiers may be made of: by name, and transformers' by their config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from fairlit.errors import ConfigurationError
from fairlit.faces.shufflenet import ShuffleNet


@dataclass(frozen=True)
class Architecture:
    """How to build a network.

    Attributes:
        build: Constructor, called without pretrained weights.
        arguments: Names of the arguments that a config may set; None: any.
        last_layer: Path of the classifying layer, which is taken off; None: the last linear layer.
        pretrained: name of torchvision's enumeration of pretrained weights; None: there are none.
    """

    build: Callable[..., nn.Module]
    arguments: frozenset[str] | None
    last_layer: str | None
    pretrained: str | None = None


class TransformersLogits(nn.Module):
    """The logits alone of a randomly initialised image-classification model of transformers.

    Args:
        model_type: As in the config.json of a transformers model.
        config: The rest of that config.
    """

    def __init__(self, model_type: str, **config: Any) -> None:
        super().__init__()
        from transformers import AutoConfig, AutoModelForImageClassification  # takes seconds, as torchvision does

        self.model = AutoModelForImageClassification.from_config(AutoConfig.for_model(model_type, **config))

    def forward(self, pixels: Tensor) -> Tensor:
        """[N, L] of normalised images [N, 3, H, W]."""
        return self.model(pixel_values=pixels).logits


MOBILENET_ARGUMENTS = frozenset({"width_mult", "reduced_tail", "dilated", "dropout"})
SHUFFLENET_ARGUMENTS = frozenset({"stages_repeats", "stages_out_channels"})


def _of_torchvision(name: str) -> Callable[..., nn.Module]:
    """The constructor of torchvision of a name, imported when it is called."""

    def build(**arguments: Any) -> nn.Module:
        from torchvision import models

        return getattr(models, name)(**arguments)

    return build


ARCHITECTURES: dict[str, Architecture] = {
    "mobilenet_v3_large": Architecture(
        _of_torchvision("mobilenet_v3_large"), MOBILENET_ARGUMENTS, "classifier.3", "MobileNet_V3_Large_Weights"
    ),
    "mobilenet_v3_small": Architecture(
        _of_torchvision("mobilenet_v3_small"), MOBILENET_ARGUMENTS, "classifier.3", "MobileNet_V3_Small_Weights"
    ),
    "resnet18": Architecture(_of_torchvision("resnet18"), frozenset(), "fc", "ResNet18_Weights"),
    "resnet34": Architecture(_of_torchvision("resnet34"), frozenset(), "fc", "ResNet34_Weights"),
    "shufflenet_v2": Architecture(ShuffleNet, SHUFFLENET_ARGUMENTS, "fc"),  # without arguments: the x1.0 network
    "transformers": Architecture(TransformersLogits, None, None),
}
SHUFFLENET_DEFAULTS: dict[str, Any] = {"stages_repeats": [4, 8, 4], "stages_out_channels": [24, 116, 232, 464, 1024]}


def architecture_problems(name: str, arguments: Mapping[str, Any]) -> list[str]:
    """What is wrong with a choice of architecture, in words; empty if nothing is."""
    if name not in ARCHITECTURES:
        return [f"architecture is {name!r}: choose one of {', '.join(sorted(ARCHITECTURES))}"]
    allowed = ARCHITECTURES[name].arguments
    if allowed is None:
        missing = "model_type" not in arguments
        return [f"architecture_args lacks 'model_type': give the config of a {name} model"] if missing else []
    return [
        f"architecture_args has {argument!r}, which {name} does not take: "
        + (f"it takes {', '.join(sorted(allowed))}" if allowed else "leave architecture_args empty")
        for argument in arguments
        if argument not in allowed
    ]


def build_network(name: str, arguments: Mapping[str, Any]) -> tuple[nn.Module, str]:
    """Builds a randomly initialised network as its library makes it.

    Args:
        name: A key of `ARCHITECTURES`.
        arguments: Arguments of the constructor, out of the ones listed there.

    Returns:
        The network, from [N, 3, H, W] to logits, and the path of its classifying layer.

    Raises:
        ConfigurationError: Unknown name or argument, or a value that the constructor refuses.
    """
    if problems := architecture_problems(name, arguments):
        raise ConfigurationError("; ".join(problems))
    architecture = ARCHITECTURES[name]
    defaults = SHUFFLENET_DEFAULTS if name == "shufflenet_v2" else {}
    try:
        network = architecture.build(**{**defaults, **arguments})
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"architecture_args is {dict(arguments)}, which {name} refuses ({error}): correct the value"
        ) from error
    linear = [path for path, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ConfigurationError(
            f"architecture_args is {dict(arguments)}, a network without a linear layer: take another"
        )
    return network, architecture.last_layer or linear[-1]


def build_backbone(name: str, arguments: Mapping[str, Any]) -> tuple[nn.Module, int]:
    """Builds a randomly initialised network that turns images into features.

    Args:
        name: A key of `ARCHITECTURES`.
        arguments: Arguments of the constructor, out of the ones listed there.

    Returns:
        The network without its classifying layer, from [N, 3, H, W] to [N, D], and D.

    Raises:
        ConfigurationError: Unknown name or argument, or a value that the constructor refuses.
    """
    network, path = build_network(name, arguments)
    last_layer = network.get_submodule(path)
    assert isinstance(last_layer, nn.Linear)
    network.set_submodule(path, nn.Identity())
    return network, last_layer.in_features


def pretrained_weights(name: str) -> Any:
    """Torchvision's entry for the newest ImageNet weights of an architecture, or None; nothing is downloaded."""
    from torchvision import models

    weights = ARCHITECTURES[name].pretrained
    return None if weights is None else getattr(models, weights).DEFAULT
