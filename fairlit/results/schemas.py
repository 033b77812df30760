"""JSON Schemas of the files of results, derived from the records: ``python -m fairlit.results.schemas [FOLDER]``.

Types come from the annotations of a record's fields, descriptions from its docstring.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from docstring_parser import DocstringStyle, parse

from fairlit.io.atomic import atomic_write_text
from fairlit.results.audit import AuditResults
from fairlit.results.comparison import ComparisonResults
from fairlit.results.edits import EditingResults
from fairlit.results.files import SCHEMA, FileRecord
from fairlit.results.manifest import ManifestEntry
from fairlit.results.record import Estimate, Record, field_types, holds_estimates, without_none
from fairlit.results.run import RunSummary, ValidationResults

FILES: Mapping[str, type[FileRecord | ManifestEntry]] = {
    "audit": AuditResults,
    "comparison": ComparisonResults,
    "editing": EditingResults,
    "manifest": ManifestEntry,
    "summary": RunSummary,
    "validation": ValidationResults,
}
"""Name of a schema -> record of the file; of a manifest, of each of its lines."""

_NUMBER: dict[str, Any] = {"type": ["number", "null"]}
_INTERVAL: dict[str, Any] = {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2}
_PLAIN: Mapping[object, dict[str, Any]] = {
    object: {},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: _NUMBER,
    str: {"type": "string"},
}


def json_schema(record: type[FileRecord | ManifestEntry]) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a record's file.

    Args:
        record: class of the record.

    Example:
        >>> json_schema(ManifestEntry)["properties"]["number"]["type"]
        'integer'
    """
    definitions: dict[str, Any] = {}
    schema = _object(record, definitions)
    version = {"const": record.VERSION, "description": "version of the format"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": record.__name__,
        **schema,
        "properties": {SCHEMA: version, **schema["properties"]},
        "required": [SCHEMA, *schema["required"]],
        "$defs": dict(sorted(definitions.items())),
    }


def write_schemas(folder: Path) -> list[Path]:
    """Write the schemas of all files into a folder and return their paths."""
    return [
        atomic_write_text(folder / f"{name}.json", json.dumps(json_schema(record), indent=2, ensure_ascii=False) + "\n")
        for name, record in FILES.items()
    ]


def _object(record: type[Record], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a record, whose own records go to `definitions`."""
    docs = parse(record.__doc__ or "", style=DocstringStyle.GOOGLE)
    descriptions = {entry.arg_name: " ".join((entry.description or "").split()) for entry in docs.params}
    properties: dict[str, Any] = {}
    required: list[str] = []
    for entry in dataclasses.fields(record):
        kind, how = field_types(record)[entry.name], entry.metadata
        if how.get("rest"):
            continue
        if how.get("merged"):
            inner = _object(kind, definitions)
            properties |= inner["properties"]
            required += [name for name in inner["required"] if name not in required]
            continue
        text, optional = descriptions.get(entry.name, ""), bool(how.get("optional"))
        keys = _keys(entry, without_none(kind) if optional else kind, definitions)
        for key, schema in keys.items():
            note = {entry.name: "", f"{entry.name}_ci": "; its 95 % interval"}.get(key, "; its floor")
            properties[key] = {**schema, "description": f"{text}{note}"}
        required += [] if optional else [key for key in keys if key not in required]
    summary = " ".join((docs.short_description or "").split())
    return {"type": "object", "description": summary, "properties": properties, "required": required}


def _keys(entry: dataclasses.Field[Any], kind: Any, definitions: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The keys of a field: those of an estimate are its number, interval and floor."""
    plain = without_none(kind)
    if plain is Estimate:
        keys = {entry.name: _NUMBER}
        if entry.metadata.get("interval", True):
            keys[f"{entry.name}_ci"] = _INTERVAL
        return keys | ({entry.metadata["floor"]: _NUMBER} if "floor" in entry.metadata else {})
    if holds_estimates(plain):
        return {entry.name: _values(_NUMBER), f"{entry.name}_ci": _values(_INTERVAL)}
    return {entry.name: _type(kind, definitions)}


def _type(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    plain = without_none(kind)
    if plain is not kind:
        schema = _type(plain, definitions)
        return schema if schema in ({}, _NUMBER) else {"anyOf": [schema, {"type": "null"}]}
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return {"type": "array", "items": _type(arguments[0], definitions)}
        items = [_type(one, definitions) for one in arguments]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    if origin is not None:  # a mapping, or a sequence
        if len(arguments) == 1:
            return {"type": "array", "items": _type(arguments[0], definitions)}
        return _values(_type(arguments[1], definitions))
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}  # taken, should the record hold itself
        definitions[kind.__name__] = _object(kind, definitions)
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _values(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": schema}


if __name__ == "__main__":
    for written in write_schemas(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/schemas")):
        print(written)
