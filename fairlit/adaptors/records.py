"""What an adaptor says about the run that made it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fairlit.io.digests import fairlit_version

DEFAULT_TOKEN = "<fairlit>"
"""Name of the first soft token; A1111's web UI reads what is between the brackets wherever a prompt says it."""

FORMER_TOKEN = "<fair>"
"""The default of fairlit 0.1.0, which is a word of prompts."""


@dataclass(frozen=True)
class AdaptorMetadata:
    """What an adaptor file says about itself, kept as JSON in its safetensors header.

    A caller fills in the first four fields; the adaptor adds the rest when it saves.

    Attributes:
        base_model: folder or hub id of the model that was finetuned.
        attributes: perceived attributes and their classes, in order.
        targets: the target distribution, as `TargetDistribution.to_dict` gives it.
        config_hash: digest of the config of the run.
        kind: ``lora`` or ``soft_tokens``.
        rank: rank of the low-rank update.
        alpha: the update is multiplied by ``alpha / rank``.
        modules: names of the adapted layers, for each of ``text_encoder``, ``text_encoder_2`` and ``unet``.
        tokens: placeholder tokens, the first of which stands for all of them in a stock pipeline's prompt.
        version: version of fairlit that trained it; empty: another program.
        origin: who trained it, where it was another program and that is known.
        pipeline: class of the stock pipeline that opens the model; empty: nobody has noted it.

    Example:
        >>> record = AdaptorMetadata(base_model="runs/base", attributes={"age": ("young", "old")})
        >>> AdaptorMetadata.from_json(record.to_json()) == record
        True
    """

    base_model: str = ""
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    targets: Mapping[str, Any] = field(default_factory=dict)
    config_hash: str = ""
    kind: str = ""
    rank: int | None = None
    alpha: float | None = None
    modules: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tokens: tuple[str, ...] = ()
    version: str = field(default_factory=fairlit_version)
    origin: str = ""
    pipeline: str = ""

    def to_json(self) -> str:
        """Return one line of JSON; equal records give equal text."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> AdaptorMetadata:
        """Return what `to_json` wrote; fields that a newer version may have added are passed over.

        Raises:
            ValueError: the text is not JSON, or a number is out of range.
            TypeError: a field holds something of another type.
        """
        record = _mapping("record", json.loads(text))
        readers: dict[str, Callable[[str, object], Any]] = {
            **{item.name: _text for item in dataclasses.fields(cls)},
            "attributes": _names_by_key,
            "targets": _mapping,
            "rank": _rank,
            "alpha": _alpha,
            "modules": _names_by_key,
            "tokens": _names,
        }
        return cls(**{name: readers[name](name, value) for name, value in record.items() if name in readers})


def _refuse(name: str, value: object, expected: str) -> TypeError:
    return TypeError(f"{name}: got {type(value).__name__}; expected {expected}")


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _refuse(name, value, "text")
    return value


def _mapping(name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refuse(name, value, "an object")
    return value


def _names(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _refuse(name, value, "a list of names")
    return tuple(_text(name, entry) for entry in value)


def _names_by_key(name: str, value: object) -> dict[str, tuple[str, ...]]:
    return {key: _names(f"{name}.{key}", entries) for key, entries in _mapping(name, value).items()}


def _rank(name: str, value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise _refuse(name, value, "a whole number")
    if value < 1:
        raise ValueError(f"{name}: got {value}; expected 1 or more")
    return value


def _alpha(name: str, value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise _refuse(name, value, "a number")
    if not math.isfinite(value):
        raise ValueError(f"{name}: got {value}; expected a finite number")
    return float(value)
