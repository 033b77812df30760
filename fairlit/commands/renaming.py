"""Old names of settings, which keep working for one version.

A table maps each old dotted key to its new one. It is applied to what stands on the command line and to the content
of config files, before either is parsed; every use is answered with a `FutureWarning` that names the new key.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from fairlit.commands.parser import PlainMessages
from fairlit.errors import ConfigurationError, Problems

Mapper = Callable[[dict[str, Any]], None]
"""Rewrites the content of a config file in place, where a change is more than a new name."""


@dataclass(frozen=True, kw_only=True)
class RenamedKeys:
    """Settings that have new names.

    Attributes:
        renamed: old dotted key -> new dotted key. Keys below an old one move with it.
        removed: old dotted key -> what to do instead.
        mappers: further rewrites of config files, run first.
        classes: setting -> class path. Keys below the setting are old names only where it names no other class, whose
            arguments may be called the same.
    """

    renamed: Mapping[str, str]
    removed: Mapping[str, str] = field(default_factory=dict)
    mappers: Sequence[Mapper] = ()
    classes: Mapping[str, str] = field(default_factory=dict)

    def in_arguments(self, arguments: Sequence[str]) -> list[str]:
        """Return command-line arguments with new names in the place of old ones.

        Args:
            arguments: arguments as the shell passes them; `--old.key value` and `--old.key=value` are both renamed.

        Raises:
            ConfigurationError: an argument exists no more.

        Example:
            >>> import warnings
            >>> with warnings.catch_warnings():
            ...     warnings.simplefilter("ignore")
            ...     RenamedKeys(renamed={"people": "faces"}).in_arguments(["images", "--people", "all"])
            ['images', '--faces', 'all']
        """
        found = []
        foreign = self._foreign({setting: _class_in_arguments(arguments, setting) for setting in self.classes})
        with Problems("arguments") as problems:
            for argument in arguments:
                option, equals, value = argument.partition("=")
                key = option.removeprefix("--")
                if option.startswith("--") and key != option:
                    self._refuse(key, f"--{key}", problems)
                    new = self._new_name(key)
                    if new is not None and key.partition(".")[0] not in foreign:
                        _warn(f"--{key}", f"--{new}")
                        option = f"--{new}"
                found.append(f"{option}{equals}{value}")
        return found

    def in_mapping(self, content: Mapping[str, Any], source: str = "config") -> dict[str, Any]:
        """Return the content of a config file with new names in the place of old ones.

        Args:
            content: nested mappings, as a YAML file gives them; not changed.
            source: name of the file, for messages.

        Raises:
            ConfigurationError: a key exists no more, or stands there under its old and its new name.

        Example:
            >>> import warnings
            >>> with warnings.catch_warnings():
            ...     warnings.simplefilter("ignore")
            ...     RenamedKeys(renamed={"a.old": "b.new"}).in_mapping({"a": {"old": 1, "kept": 2}})
            {'a': {'kept': 2}, 'b': {'new': 1}}
        """
        changed = copy.deepcopy(dict(content))
        foreign = self._foreign({setting: _class_in_mapping(changed, setting) for setting in self.classes})
        for mapper in self.mappers:
            mapper(changed)
        with Problems(source) as problems:
            for key in _keys_of(changed):
                self._refuse(key, key, problems)
            for old, new in self.renamed.items():
                if old.partition(".")[0] in foreign:
                    continue
                if (held := _pop(changed, old.split("."))) is not _NOTHING:
                    _warn(old, new)
                    with problems.collecting():
                        _put(changed, new.split("."), held, names=f"{old} and {new}")
        return changed

    def _foreign(self, named: Mapping[str, object]) -> set[str]:
        """Settings that name another class than the one whose arguments had other names."""
        return {setting for setting, name in named.items() if name not in (None, self.classes[setting])}

    def _new_name(self, key: str) -> str | None:
        """The new name of a key, or of the nearest key above it; None where nothing has been renamed."""
        parts = key.split(".")
        for length in range(len(parts), 0, -1):
            old = ".".join(parts[:length])
            if old in self.renamed:
                return ".".join([self.renamed[old], *parts[length:]])
        return None

    def _refuse(self, key: str, shown: str, problems: Problems) -> None:
        if key in self.removed:
            problems.add(f"{shown}: exists no more; {self.removed[key]}")


class RenamingParser(PlainMessages, ArgumentParser):
    """A parser that understands old names of its settings, on the command line and in config files.

    Attributes:
        renamed_keys: the old names.
    """

    renamed_keys = RenamedKeys(renamed={})

    def parse_args(self, args: Sequence[str] | None = None, *more: Any, **settings: Any) -> Namespace:  # type: ignore[override]
        """Parse arguments, those with old names too."""
        given = None if args is None else self.renamed_keys.in_arguments(args)
        if given is not None and not self.exit_on_error:
            # jsonargparse 4.53 hands null on to the parser of a class in Python's words: --models.clip=None
            given = [f"{word.removesuffix('None')}null" if word.endswith("=None") else word for word in given]
        return super().parse_args(given, *more, **settings)

    def _apply_actions(self, cfg: Any, parent_key: str = "", *more: Any, **settings: Any) -> Namespace:
        """Rename the keys of a config file before they are looked up."""
        if isinstance(cfg, dict) and not parent_key:
            cfg = self.renamed_keys.in_mapping(cfg)
        return super()._apply_actions(cfg, parent_key, *more, **settings)


_NOTHING = object()


def _class_in_arguments(arguments: Sequence[str], setting: str) -> str | None:
    """The class path that the command line gives a setting; None without."""
    options = (f"--{setting}", f"--{setting}.class_path")
    for place, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if option in options:
            return value if equals else next(iter(arguments[place + 1 :]), "")
    return None


def _class_in_mapping(content: Mapping[str, Any], setting: str) -> object:
    """The class path that a config file gives a setting; None without."""
    held = content.get(setting)
    return held.get("class_path") if isinstance(held, Mapping) else held


def _warn(old: str, new: str) -> None:
    warnings.warn(f"{old} is now called {new}; the old name will be refused in the next version", FutureWarning, 2)


def _keys_of(content: Mapping[str, Any], above: str = "") -> list[str]:
    keys = []
    for name, value in content.items():
        keys.append(f"{above}{name}")
        if isinstance(value, Mapping):
            keys += _keys_of(value, f"{above}{name}.")
    return keys


def _pop(content: dict[str, Any], path: Sequence[str]) -> Any:
    """Take a value out of nested mappings, and the mappings that are empty without it."""
    first, *rest = path
    if not isinstance(content, dict) or first not in content:
        return _NOTHING
    if not rest:
        return content.pop(first)
    held = _pop(content[first], rest)
    if held is not _NOTHING and content[first] == {}:
        del content[first]
    return held


def _put(content: dict[str, Any], path: Sequence[str], value: Any, *, names: str) -> None:
    *above, last = path
    for name in above:
        content = content.setdefault(name, {})
    if not isinstance(content, dict) or last in content:
        raise ConfigurationError(f"{names}: both are given; keep the new one")
    content[last] = value
