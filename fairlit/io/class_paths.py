"""Parts of somebody's own: a class named by its import path, with the arguments to build it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from fairlit.errors import ConfigurationError, own_error
from fairlit.io.yaml_files import read_yaml

ClassSpec: TypeAlias = str | dict[str, Any]
"""A class path, `my_module.MyClass`; `{class_path: ..., init_args: {...}}`; or a YAML file with such a mapping."""

Part = TypeVar("Part")

_CLASS_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_KEYS = {"class_path", "init_args"}


def is_class_spec(spec: str | os.PathLike[str] | Mapping[str, Any]) -> bool:
    """Return whether a value names a class; what exists as a folder, or is any other file, does not.

    Args:
        spec: value of a setting that takes a path or a class.

    Example:
        >>> is_class_spec("my_module.MyClass"), is_class_spec({"class_path": "my_module.MyClass"})
        (True, True)
        >>> is_class_spec("checkpoints/classifier"), is_class_spec("words.yaml")
        (False, False)
    """
    if isinstance(spec, Mapping):
        return "class_path" in spec
    path = Path(spec)
    if path.suffix in (".yaml", ".yml"):
        return _mapping_in(path) is not None
    return not path.exists() and _CLASS_PATH.fullmatch(str(spec)) is not None


def read_class_spec(spec: str | os.PathLike[str] | Mapping[str, Any], subject: str) -> dict[str, Any]:
    """Return a class spec as a mapping with the keys `class_path` and `init_args`.

    Args:
        spec: class path, mapping or YAML file.
        subject: name of the setting, which begins every message.

    Raises:
        ConfigurationError: The value does not name a class.
    """
    if not is_class_spec(spec):
        raise ConfigurationError(
            f"{subject}: got {_text(spec)}; expected a class; give `my_module.MyClass`, a mapping with class_path, "
            "or a YAML file with such a mapping"
        )
    found: Any = spec
    if not isinstance(spec, Mapping):
        found = _mapping_in(Path(spec)) or {"class_path": str(spec)}
    unknown = sorted(map(str, set(found) - _KEYS))
    if unknown:
        raise ConfigurationError(
            f"{subject}: got the key {unknown[0]} beside class_path; expected init_args alone; move it below init_args"
        )
    arguments = found.get("init_args") or {}
    if not isinstance(arguments, Mapping):
        raise ConfigurationError(f"{subject}: got init_args {arguments!r}; expected a mapping; give name: value")
    return {"class_path": str(found["class_path"]), "init_args": dict(arguments)}


def find_class(spec: str | os.PathLike[str] | Mapping[str, Any], base: type[Part], subject: str) -> type[Part]:
    """Import the class that a spec names, from the current folder too, and check that it is of a kind.

    Args:
        spec: class path, mapping or YAML file.
        base: class that it has to derive from.
        subject: name of the setting, which begins every message.

    Raises:
        ConfigurationError: There is no such class, or it is not derived from `base`.
    """
    path = read_class_spec(spec, subject)["class_path"]
    import_from_current_folder()
    module, name = path.rpartition(".")[::2]
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError, SyntaxError) as error:  # ValueError: no module before the dot
        raise ConfigurationError(
            f"{subject}: got {path!r}, which cannot be imported ({error}); expected a class; correct the path, or run "
            "the command in the folder of the module"
        ) from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ConfigurationError(
            f"{subject}: got {path!r}; expected a subclass of {base.__module__}.{base.__qualname__}; derive it "
            "from that"
        )
    return found


def instantiate(spec: str | os.PathLike[str] | Mapping[str, Any], base: type[Part], subject: str) -> Part:
    """Build the object that a spec names; its arguments are checked against the types of its constructor.

    Args:
        spec: class path, mapping or YAML file.
        base: class that it has to derive from.
        subject: name of the setting, which begins every message.

    Raises:
        ConfigurationError: There is no such class, it is not derived from `base`, or its arguments do not fit.
    """
    found = find_class(spec, base, subject)
    arguments = read_class_spec(spec, subject)["init_args"]
    from jsonargparse import ArgumentError, ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(found, "part")
    try:
        return parser.instantiate(parser.parse_object({"part": arguments})).part
    except (ArgumentError, TypeError, ValueError) as error:
        own = own_error(error)
        if own is not None:
            raise ConfigurationError(f"{subject}: {own}") from error
        reason = " ".join(str(error).split())
        raise ConfigurationError(
            f"{subject}: got init_args {arguments!r} for {found.__qualname__}; expected what its constructor takes "
            f"({reason}); correct init_args"
        ) from error


def import_from_current_folder() -> None:
    """Let modules in the current folder be imported, as `python -m` does; installed commands do not by themselves."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)  # last, so that nobody's file hides a library


def _mapping_in(path: Path) -> dict[str, Any] | None:
    """The mapping of a YAML file, if it names a class."""
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        return None
    try:
        content = read_yaml(path, "a YAML file")
    except ConfigurationError:
        return None
    return content if isinstance(content, dict) and "class_path" in content else None


def _text(spec: object) -> str:
    return repr(str(spec) if isinstance(spec, os.PathLike) else spec)
