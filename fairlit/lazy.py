"""Lazy public names for packages: a name is imported from its module when it is first used."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


def lazy_exports(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` of a package whose names are imported on first use.

    Importing torch, diffusers or Lightning takes seconds, and few commands need all three.
    Write the same imports below `if TYPE_CHECKING:` beside it, for type checkers and editors.

    Args:
        package: `__name__` of the package.
        homes: public name -> module that defines it. A submodule that does not define its own name is exported itself.

    Example:
        >>> get, names, public = lazy_exports("json", {"JSONDecoder": "json.decoder", "tool": "json.tool"})
        >>> get("JSONDecoder").__module__, get("tool").__name__, public
        ('json.decoder', 'json.tool', ['JSONDecoder', 'tool'])
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with heavy_imports():
            value = _find(import_module(homes[name]), name)
        vars(sys.modules[package])[name] = value  # the next use goes straight to it
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    if any(home == f"{package}.{name}" for name, home in homes.items()):
        sys.modules[package].__class__ = _Namesakes
    return get, names, sorted(homes)


@contextmanager
def heavy_imports() -> Iterator[None]:
    """Leave the garbage collector out while the block imports.

    torch, diffusers and Lightning make hundreds of thousands of objects that stay; looking for garbage among them
    again and again takes an eighth of the time of importing them.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Namesakes(ModuleType):
    """Package with a submodule that is named after the function it defines, such as ``diffusion.replay``.

    Importing the submodule would hide the function behind it; here the function stays the package's attribute.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        submodule = isinstance(value, ModuleType) and value.__name__ == f"{self.__name__}.{name}"
        super().__setattr__(name, _find(value, name) if submodule and name in self.__all__ else value)


def _find(module: ModuleType, name: str) -> Any:
    """Return what a module calls `name`; the module itself where that is its own name and it defines none."""
    if module.__name__.rpartition(".")[2] == name and name not in vars(module):
        return module
    return getattr(module, name)
