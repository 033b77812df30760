"""Lazy public names for packages: a name is imported from its module when it is first used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_exports(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` of a package whose names are imported on first use.

    Importing torch, diffusers or Lightning takes seconds, and few commands need all three.
    Write the same imports below `if TYPE_CHECKING:` beside it, for type checkers and editors.

    Args:
        package: `__name__` of the package.
        homes: public name -> module that defines it; a name that is its own module's last part, and is not defined
            in it, stands for the module itself.

    Example:
        >>> get, names, public = lazy_exports("json", {"JSONDecoder": "json.decoder", "tool": "json.tool"})
        >>> get("JSONDecoder").__module__, get("tool").__name__, public
        ('json.decoder', 'json.tool', ['JSONDecoder', 'tool'])
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = homes[name]
        module = import_module(home)
        is_module = home == f"{package}.{name}" and name not in vars(module)
        value = module if is_module else getattr(module, name)
        vars(sys.modules[package])[name] = value  # the next use goes straight to it
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return get, names, sorted(homes)
