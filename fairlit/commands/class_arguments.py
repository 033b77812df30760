"""A class of one's own and its arguments on the command line: ``--detector my.Own --detector.init_args.share 0.5``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fairlit.io.class_paths import read_class_spec


def with_class_arguments(arguments: Sequence[str], settings: Sequence[str]) -> list[str]:
    """Return command-line arguments in which a class and its arguments are one value.

    jsonargparse 4.53 does that for settings that take a subclass alone. Of others it takes an argument for a new value
    in the place of the class.

    Args:
        arguments: arguments as the shell passes them.
        settings: settings that take a class path, beside other values.

    Raises:
        ConfigurationError: a setting has arguments, and its value names no class.

    Example:
        >>> with_class_arguments(["images", "--detector", "my.Own", "--detector.init_args.share=0.5"], ["detector"])
        ['images', '--detector={"class_path": "my.Own", "init_args": {"share": "0.5"}}']
    """
    for setting in settings:
        arguments = _with_arguments_of(setting, arguments)
    return list(arguments)


def _with_arguments_of(setting: str, arguments: Sequence[str]) -> Sequence[str]:
    classes, inner = (f"--{setting}", f"--{setting}.class_path"), f"--{setting}.init_args."
    kept: list[str] = []
    given: dict[str, Any] = {}
    named, place = "", 0
    waiting = iter(arguments)
    for argument in waiting:
        option, equals, value = argument.partition("=")
        if option not in classes and not option.startswith(inner):
            kept.append(argument)
            continue
        value = value if equals else next(waiting, "")
        if option in classes:
            named, place = value, len(kept)
        else:
            _put(given, option.removeprefix(inner).split("."), value)
    if not given or not named or named.lstrip().startswith("{"):  # a mapping has arguments of its own
        return arguments
    spec = read_class_spec(named, setting)
    spec["init_args"] |= given
    kept.insert(place, f"--{setting}={json.dumps(spec)}")
    return kept


def _put(content: dict[str, Any], path: Sequence[str], value: str) -> None:
    *above, last = path
    for name in above:
        content = content.setdefault(name, {})
    content[last] = value
