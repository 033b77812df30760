"""YAML that people write: a key stands once, and aliases do not make a small file a large one."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import yaml  # type: ignore[import-untyped]

from fairlit.errors import ConfigurationError
from fairlit.io.text_files import read_text

_MAX_BYTES = 5_000_000  # PyYAML 6 takes a hundred times as much memory
_MAX_VALUES = 100_000  # that aliases add
_MAX_DEPTH = 100
_MERGE = "tag:yaml.org,2002:merge"
_Loader: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: str | os.PathLike[str], expected: str) -> Any:
    """Return the content of a YAML file as plain data.

    Args:
        path: file to read.
        expected: what the file should be, for messages.

    Raises:
        ConfigurationError: the file cannot be read, or its content is refused by `load_yaml`.
    """
    text = read_text(path, expected, _MAX_BYTES)
    try:
        return load_yaml(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigurationError(f"{path}{place}: is not valid YAML, {error.problem}; correct it there") from error


def load_yaml(text: str, load: Callable[[str], Any] | None = None) -> Any:
    r"""Return what YAML text holds, after a check of what PyYAML lets pass.

    Args:
        text: YAML, or JSON.
        load: function that loads it; None: PyYAML's safe loader.

    Raises:
        yaml.MarkedYAMLError: the text is not YAML, a key stands twice in one mapping, values are nested too deeply or
            too many because of aliases, or a value does not fit its tag.

    Example:
        >>> load_yaml("images: 3")
        {'images': 3}
        >>> load_yaml("images: 3\nimages: 4")
        Traceback (most recent call last):
        ...
        yaml.error.MarkedYAMLError: found the key 'images' a second time...
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
        if root is not None:
            _check(root, {}, 0)
        return yaml.load(text, Loader=_Loader) if load is None else load(text)
    except (yaml.reader.ReaderError, ValueError, KeyError, AttributeError, RecursionError) as error:
        # PyYAML 6 lets pass what constructors raise: `2026-13-45` is a date to it, whose month is out of range.
        reason = " ".join(str(error).split())[:200]
        raise yaml.MarkedYAMLError(problem=f"found a value that cannot be read ({reason})") from error


def _check(node: yaml.Node, sizes: dict[yaml.Node, int], depth: int) -> int:
    """Return how many values a node stands for, those behind aliases as often as they are named."""
    if node in sizes:
        if not sizes[node]:
            raise _mistake("found an alias of a value within that value", node)
        return sizes[node]
    if depth > _MAX_DEPTH:
        raise _mistake(f"found more than {_MAX_DEPTH} levels of values within values", node)
    if isinstance(node, yaml.ScalarNode):
        sizes[node] = 1
        return 1
    sizes[node] = 0  # being counted
    if isinstance(node, yaml.MappingNode):
        _check_keys(node)
        size = 1 + sum(_check(part, sizes, depth + 1) for pair in node.value for part in pair)
    else:
        size = 1 + sum(_check(part, sizes, depth + 1) for part in node.value)
    if size > _MAX_VALUES + len(sizes):  # `sizes` holds every value that was written so far
        raise _mistake(f"found aliases that make more than {_MAX_VALUES} values of it", node)
    sizes[node] = size
    return size


def _check_keys(node: yaml.MappingNode) -> None:
    seen: set[tuple[str, str]] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
            continue
        name = (key.tag, key.value)
        if name in seen:
            raise _mistake(f"found the key {key.value!r} a second time", key)
        seen.add(name)


def _mistake(problem: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
