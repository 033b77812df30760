"""Paths among settings, spelt in one way, so that settings can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PATHS = frozenset(
    {
        "adaptor",
        "audit_classifier",
        "classifier",
        "clip",
        "detector",
        "dino",
        "folder",
        "model",
        "path",
        "prompts",
        "reference",
        "second_classifier",
        "unrelated_prompts",
    }
)
"""Settings that may hold a path."""


def with_resolved_paths(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with absolute paths, so that `a`, `./a` and `/here/a` are equal.

    What is not there, as a hub id or a class path is not, stays as it is.

    Args:
        settings: plain data, as files of results hold it.

    Example:
        >>> with_resolved_paths({"model": "organisation/model", "methods": {"mine": {"path": "/.."}}})
        {'model': 'organisation/model', 'methods': {'mine': {'path': '/'}}}
    """
    return {
        key: _resolved(value) if key in _PATHS and isinstance(value, str) else _within(value)
        for key, value in settings.items()
    }


def differing_settings(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the names of settings that differ, sorted; two paths of one place do not.

    Args:
        one: plain data.
        other: further plain data.

    Example:
        >>> differing_settings({"model": "/..", "steps": 3}, {"model": "/", "seed": 0})
        ['seed', 'steps']
    """
    if one == other:
        return []
    one, other = with_resolved_paths(one), with_resolved_paths(other)
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def _within(value: Any) -> Any:
    return with_resolved_paths(value) if isinstance(value, Mapping) else value


def _resolved(text: str) -> str:
    try:
        return str(Path(text).resolve()) if Path(text).exists() else text
    except (OSError, ValueError):  # too long for a path, or NUL in it
        return text
