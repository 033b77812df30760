"""What records are made of, and how they become JSON and come back.

A record is a frozen dataclass. Its JSON has one key a field, by the field's name, with two exceptions that keep files
flat: an `Estimate` becomes a number under its name, its interval under ``NAME_ci`` and, where the field names one, its
floor under a key of its own; and the keys of a field that is marked `MERGED` stand beside those of its record.
Numbers that are not finite are null in JSON and NaN in records.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from fairlit.errors import ConfigurationError
from fairlit.io.jsonable import to_jsonable

Interval = tuple[float, float]
"""Lower and upper bound; NaN where there is none."""

PlainData = Mapping[str, object]
"""What a JSON object holds, whatever its keys."""

MERGED: Mapping[str, Any] = {"merged": True}
"""Metadata of a field whose keys stand beside those of its record."""

OPTIONAL_KEY: Mapping[str, Any] = {"optional": True}
"""Metadata of a field whose key is left out where the field is None."""

REST: Mapping[str, Any] = {"rest": True}
"""Metadata of a field of plain data that takes the keys that no other field has."""

NO_INTERVAL: Mapping[str, Any] = {"interval": False}
"""Metadata of an estimate that is written without an interval."""

_Record = TypeVar("_Record", bound="Record")


def with_floor(key: str, interval: bool = True) -> Mapping[str, Any]:
    """Return the metadata of an estimate whose floor is written under `key`."""
    return {"floor": key, "interval": interval}


@dataclass(frozen=True)
class Record:
    """A frozen dataclass of results; records with the same figures are equal, unknown ones included."""

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, tuple):
                normal: object = tuple(_one_nan(item) for item in value)
            else:
                normal = _one_nan(value)
            if normal is not value:
                object.__setattr__(self, entry.name, normal)


def _one_nan(value: object) -> object:
    """Return `math.nan` for every NaN: containers take an object to be equal to itself, NaN or not."""
    return math.nan if isinstance(value, float) and value != value else value


@dataclass(frozen=True)
class Estimate(Record):
    """A measured number, and what is known of its error.

    Attributes:
        value: measured number; NaN where nothing could be measured.
        low: lower end of its 95 % interval; NaN where there is none.
        high: upper end of its 95 % interval; NaN where there is none.
        floor: value that chance alone would give a model that meets its target; NaN where that has no meaning.

    Example:
        >>> bias = Estimate(0.2, 0.1, 0.3, floor=0.08)
        >>> bias.value, bias.interval, bias.known
        (0.2, (0.1, 0.3), True)
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    floor: float = math.nan

    @property
    def interval(self) -> Interval:
        """Both ends of the interval."""
        return self.low, self.high

    @property
    def known(self) -> bool:
        """Whether anything could be measured."""
        return self.value == self.value

    def __neg__(self) -> Estimate:
        """Return the estimate of the difference the other way round; a floor has no meaning for one."""
        return Estimate(-self.value, -self.high, -self.low)


_FIELD_TYPES: dict[type[Record], dict[str, Any]] = {}  # looked up once a class: it takes long


def field_types(record: type[Record]) -> dict[str, Any]:
    """Return the types of a record's fields by name, in their order."""
    if record not in _FIELD_TYPES:
        hints = typing.get_type_hints(record)
        _FIELD_TYPES[record] = {entry.name: hints[entry.name] for entry in dataclasses.fields(record)}
    return _FIELD_TYPES[record]


def known_keys(record: type[Record]) -> set[str]:
    """Return all keys that a record's fields have in JSON."""
    keys: set[str] = set()
    for entry in dataclasses.fields(record):
        kind, how = without_none(field_types(record)[entry.name]), entry.metadata
        if how.get("merged"):
            keys |= known_keys(kind)
        elif not how.get("rest"):
            keys |= {entry.name, how.get("floor", entry.name)}
            keys |= {f"{entry.name}_ci"} if kind is Estimate or holds_estimates(kind) else set()
    return keys


def encode(record: Record) -> dict[str, Any]:
    """Return a record as what `json.dumps(..., allow_nan=False)` takes."""
    encoded: dict[str, Any] = {}
    types_ = field_types(type(record))
    for entry in dataclasses.fields(record):
        value, how, kind = getattr(record, entry.name), entry.metadata, without_none(types_[entry.name])
        if value is None:
            if not how.get("optional"):
                encoded[entry.name] = None
        elif how.get("merged"):
            encoded |= encode(value)
        elif how.get("rest"):
            encoded |= _encode(value)
        elif kind is Estimate:
            encoded[entry.name] = to_jsonable(value.value)
            if how.get("interval", True):
                encoded[f"{entry.name}_ci"] = to_jsonable(value.interval)
            if "floor" in how:
                encoded[how["floor"]] = to_jsonable(value.floor)
        elif holds_estimates(kind):
            encoded[entry.name] = {name: to_jsonable(one.value) for name, one in value.items()}
            encoded[f"{entry.name}_ci"] = {name: to_jsonable(one.interval) for name, one in value.items()}
        else:
            encoded[entry.name] = _encode(value)
    return encoded


def _encode(value: object) -> Any:
    if isinstance(value, Record):
        return encode(value)
    if isinstance(value, Mapping):
        return {str(key): _encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    return to_jsonable(value)


def decode(record: type[_Record], content: object, place: str) -> _Record:
    """Return the record that `encode` has made `content` of.

    Args:
        record: class of the record.
        content: decoded JSON; keys that the record does not know are passed over.
        place: file and key, for messages.

    Raises:
        ConfigurationError: a key is missing, or its value is of another kind.
    """
    if not isinstance(content, Mapping):
        raise _mismatch(place, content, "an object")
    values: dict[str, Any] = {}
    for entry in dataclasses.fields(record):
        kind, how, key = field_types(record)[entry.name], entry.metadata, f"{place}: {entry.name}"
        if how.get("optional"):  # absent is None, and null an unknown number
            kind = without_none(kind)
        if how.get("merged"):
            values[entry.name] = decode(kind, content, place)
        elif how.get("rest"):
            known = known_keys(record)
            values[entry.name] = {key: value for key, value in content.items() if key not in known}
        elif entry.name not in content:
            if entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING:
                raise ConfigurationError(f"{key}: got no such key; expected {_words(kind)}; write the file anew")
        elif without_none(kind) is Estimate and not (content[entry.name] is None and _takes_none(kind)):
            interval = content.get(f"{entry.name}_ci")
            low, high = (math.nan, math.nan) if interval is None else _decode(Interval, interval, f"{key}_ci")
            floor = _decode(float, content.get(how["floor"]), key) if "floor" in how else math.nan
            values[entry.name] = Estimate(_decode(float, content[entry.name], key), low, high, floor)
        elif holds_estimates(kind):
            numbers = _decode(dict[str, float], content[entry.name], key)
            intervals = _decode(dict[str, Interval], content.get(f"{entry.name}_ci", {}), f"{key}_ci")
            nothing = (math.nan, math.nan)
            values[entry.name] = {
                name: Estimate(value, *intervals.get(name, nothing)) for name, value in numbers.items()
            }
        else:
            values[entry.name] = _decode(kind, content[entry.name], key)
    return record(**values)


def _decode(kind: Any, value: Any, place: str) -> Any:
    if value is None and _takes_none(kind):
        return None
    kind = without_none(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is object:
        return value
    if isinstance(kind, type) and origin is None and issubclass(kind, Record):
        return decode(kind, value, place)
    if origin is tuple and isinstance(value, Sequence) and not isinstance(value, str):
        each = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(each) == len(value):
            return tuple(_decode(one, item, place) for one, item in zip(each, value, strict=True))
    elif origin in (dict, Mapping):
        if isinstance(value, Mapping):
            key_kind, item_kind = arguments
            return {key_kind(key): _decode(item_kind, item, f"{place}.{key}") for key, item in value.items()}
    elif origin is Literal:
        if value in arguments:
            return value
    elif kind is float:
        if value is None:
            return math.nan
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise _mismatch(place, value, _words(kind))


def _mismatch(place: str, value: object, expected: str) -> ConfigurationError:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return ConfigurationError(f"{place}: got {shown}; expected {expected}; write the file anew")


def _words(kind: Any) -> str:
    """Return what a type asks of JSON in words."""
    kind = without_none(kind)
    if typing.get_origin(kind) is Literal:
        return " or ".join(map(repr, typing.get_args(kind)))
    if typing.get_origin(kind) is tuple:
        return "a list"
    names = {float: "a number", int: "a whole number", str: "text", bool: "true or false", Estimate: "a number"}
    return names.get(kind, "an object")


def _takes_none(kind: Any) -> bool:
    return type(None) in typing.get_args(kind)


def without_none(kind: Any) -> Any:
    """Return a type without its ``| None``."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        others = [one for one in typing.get_args(kind) if one is not type(None)]
        if len(others) == 1:
            return others[0]
    return kind


def holds_estimates(kind: Any) -> bool:
    """Return whether a type is a mapping from names to estimates."""
    arguments = typing.get_args(without_none(kind))
    return len(arguments) == 2 and arguments[0] is str and arguments[1] is Estimate
