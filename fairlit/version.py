"""The version of fairlit."""

from __future__ import annotations

from importlib import metadata


def fairlit_version() -> str:
    """Return the version of the installed package, or ``unknown`` when it runs from a bare source tree."""
    try:
        return metadata.version("fairlit")
    except metadata.PackageNotFoundError:
        return "unknown"


__version__ = fairlit_version()
