"""What jsonargparse says, in fairlit's words: ``name: got X; expected Y; do Z``, with the place in the config file."""

from __future__ import annotations

import difflib
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import yaml  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

_KEY = re.compile(r'Parser key "([^"]+)":?')
_CLASS = re.compile(r"Problem with given class_path '([^']+)'")
_UNKNOWN = re.compile(r"Option '([^']+)' is not accepted")
_UNKNOWN_IN_GROUP = re.compile(r"Group '([^']+)' does not accept option '([^']+)'")
_UNKNOWN_IN_COMMAND = re.compile(r"Subcommand '([^']+)' does not accept option '([^']+)'")
_UNRECOGNIZED = re.compile(r"unrecognized arguments: --([^ =]+)")
_EXPECTED = re.compile(r"Expected an? (.+?)(?:\. Got value: (.*))?$")
_MISSING = "the following arguments are required: "
_CLASS_PATH = "dot import path string"
_WORDS = {
    "<class 'int'>": "a whole number",
    "<class 'float'>": "a number",
    "<class 'bool'>": "true or false",
    "<class 'str'>": "text",
    "<class 'dict'>": "a mapping",
    "<class 'list'>": "a list",
    "<class 'NoneType'>": "null",
}


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that somebody probably meant, None where none is near.

    Example:
        >>> nearest("imagse", ["images", "seed"])
        'images'
    """
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def explain(message: str, error: BaseException | None, parser: ArgumentParser) -> str:
    """Return a message of jsonargparse in fairlit's words.

    Args:
        message: message as jsonargparse gives it.
        error: exception behind it, if any.
        parser: parser whose options are the known ones; its `config_files` are searched for the mistake.
    """
    files = _config_files(parser)
    if (mistake := _yaml_mistake(error)) is not None:
        return _explain_yaml(mistake, files)
    if message.startswith("unrecognized arguments: "):
        return _explain_unrecognized(message.removeprefix("unrecognized arguments: "), parser)
    if message.startswith(_MISSING):
        return _explain_missing(message.removeprefix(_MISSING))
    if message.startswith("Unexpected config: "):
        return f"config: {_last(files)} holds no settings; expected a mapping, one `name: value` a line"
    if match := re.match(r"argument ([^:]+): expected (.+?)(?: arguments?)?$", message):
        return f"{match[1].split('/')[-1]}: got no value; expected {match[2]}"
    if match := re.match(r"argument ([^:]+): (.*)", message, re.DOTALL):
        return f"{match[1].split('/')[-1]}: {match[2]}"
    if match := re.match(r"Parser key \"(\w+)\": (File does not exist|Path is not a file)[^:]*: '?([^']*)'?", message):
        return _explain_no_file(match[1], match[3])
    return _explain_value(message, parser, files)


def _config_files(parser: ArgumentParser) -> list[str]:
    """Return the config files that a parser or those of its commands have read."""
    commands = parser._subcommands_action._name_parser_map.values() if parser._subcommands_action else ()
    return [file for entry in (parser, *commands) for file in getattr(entry, "config_files", [])]


def locate(files: Iterable[str], key: str) -> str:
    """Return where a dotted key stands in config files, such as ``demo.yaml, line 3, column 5``; "" if nowhere.

    Args:
        files: YAML files in the order in which they are read; the last that holds the key counts.
        key: dotted key; as much of it as a file holds is found.
    """
    best, place = 0, ""
    for file in files:
        try:
            node = yaml.compose(Path(file).read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except (OSError, ValueError, yaml.YAMLError):
            continue
        depth, mark = 0, None
        for part in key.split("."):
            if not isinstance(node, yaml.MappingNode):
                break
            pair = next((pair for pair in node.value if pair[0].value == part), None)
            if pair is None:
                break
            depth, mark, node = depth + 1, pair[0].start_mark, pair[1]
        if mark is not None and depth >= best:
            best, place = depth, f"{file}, line {mark.line + 1}, column {mark.column + 1}"
    return place


@dataclass(frozen=True)
class _Problem:
    """One leaf of jsonargparse's nested message."""

    key: str
    class_path: str | None
    text: str


def _explain_value(message: str, parser: ArgumentParser, files: list[str]) -> str:
    problem = _deepest(message)
    place = locate(files, problem.key) if problem.key and not _is_given(problem.key, parser) else ""
    where = f" ({place})" if place else ""
    prefix = problem.key.removesuffix(".class_path").removesuffix(".init_args") + ".init_args"
    if problem.class_path is not None and problem.text.startswith(_MISSING):
        names = [f"{prefix}.{name.strip()}" for name in problem.text.removeprefix(_MISSING).split(",")]
        return f"{', '.join(names)}: got nothing; {problem.class_path.rpartition('.')[2]} needs it{where}"
    if problem.class_path is not None and (wrong := _wrong_key(problem.text)):
        return _unknown(f"{prefix}.{wrong}", _keys_of_class(problem.class_path, prefix), parser, files=files)
    if match := _UNKNOWN_IN_COMMAND.search(problem.text):
        return _unknown(match[2], _known(parser, match[1]), parser, files=files)
    if wrong := _wrong_key(problem.text):
        return _unknown(wrong, _known(parser), parser, files=files)
    if match := re.search(r"module '([\w.]+)' has no attribute '(\w+)'", problem.text):
        near = nearest(match[2], dir(sys.modules.get(match[1])))
        advice = f"did you mean {match[1]}.{near}?" if near else f"give the path of a class that {match[1]} has"
        return f"{problem.key}: got {match[1]}.{match[2]}; expected a class; {advice}{where}"
    leaves = [found for line in problem.text.splitlines() if (found := _EXPECTED.search(line.strip()))]
    given = next((found[2] for found in leaves if found[2] is not None), None)
    if given is None and (match := re.search(r"Given value: (.*)", problem.text, re.DOTALL)):
        given = match[1].strip()
    if not leaves:
        text = " ".join(problem.text.split())
        return f"{problem.key}: {text}{where}" if problem.key else f"{text}{where}"
    kinds = [found[1] for found in leaves]
    known = _class_names(problem.text) if any(kind.startswith(_CLASS_PATH) for kind in kinds) else []
    return f"{problem.key}: got {_shown(given)}; expected {_expected(kinds, given, known)}{where}"


def _deepest(message: str) -> _Problem:
    """Return the innermost problem of a class in a class, or the message itself."""
    lines = message.splitlines()
    key, class_path, start = "", None, 0
    number = 0
    while number < len(lines):
        line = lines[number]
        if found := _KEY.search(line):
            inner = found[1]
            key = f"{key}.{inner}" if key else inner
            rest = line[found.end() :].strip()
            lines[number] = rest
            start = number
        elif found := _CLASS.search(line):
            class_path = found[1]
            key = f"{key}.init_args" if key else "init_args"
            indent = len(line) - len(line.lstrip(" -"))
            block = []
            for inner_line in lines[number + 1 :]:
                if len(inner_line) - len(inner_line.lstrip(" ")) < indent:
                    break
                block.append(inner_line)
            lines, number, start = block, -1, 0
        number += 1
    text = "\n".join(lines[start:]).strip()
    if class_path is not None and key.endswith(".init_args"):
        key = key.removesuffix(".init_args") + ".class_path"
    return _Problem(key, class_path, text)


def _wrong_key(text: str) -> str | None:
    """Return the key that a message calls unknown, if it does."""
    if match := _UNKNOWN_IN_GROUP.search(text):
        return f"{match[1]}.{match[2]}"
    match = _UNKNOWN.search(text) or _UNRECOGNIZED.search(text)
    return match[1] if match else None


def _is_given(key: str, parser: ArgumentParser) -> bool:
    """Whether a key, or one above or below it, stands on the command line, where ``init_args`` may be left out."""
    short = key.replace(".init_args", "").removesuffix(".class_path") + "."
    options = [word[2:].partition("=")[0].replace(".init_args", "") + "." for word in parser.args if word[:2] == "--"]
    return any(short.startswith(option) or option.startswith(short) for option in options)


def _unknown(key: str, known: Iterable[str], parser: ArgumentParser, *, files: list[str]) -> str:
    place = "" if _is_given(key, parser) else locate(files, key)
    listed = list(known)
    near = nearest(key, listed) or _nearest_leaf(key, listed)
    advice = f"did you mean {near}?" if near else _choices(key, listed)
    return f"{key}: unknown setting; {advice}{f' ({place})' if place else ''}"


def _nearest_leaf(key: str, known: list[str]) -> str | None:
    """Return a known key in the same group whose last part is near."""
    group, _, leaf = key.rpartition(".")
    siblings = {entry.rpartition(".")[2]: entry for entry in known if entry.rpartition(".")[0] == group}
    found = nearest(leaf, siblings)
    return siblings[found] if found else None


def _choices(key: str, known: list[str]) -> str:
    group = key.rpartition(".")[0]
    siblings = sorted(entry for entry in known if entry.rpartition(".")[0] == group)
    return f"known ones: {', '.join(siblings)}" if siblings else "leave it out"


def _explain_unrecognized(rest: str, parser: ArgumentParser) -> str:
    word = rest.split(" ")[0]
    if not word.startswith("-"):
        return f"{word}: got an argument too many; put values that hold spaces in quotes"
    option = word.split("=")[0]
    known = [option for action in parser._actions for option in action.option_strings if action.help != "==SUPPRESS=="]
    near = nearest(option, known)
    name = parser.prog.replace(" [options]", "")
    return f"{option}: unknown option; " + (f"did you mean {near}?" if near else f"`{name} --help` lists all")


def _explain_missing(rest: str) -> str:
    names = [name.strip() for name in rest.split(",")]
    return f"{', '.join(names)}: missing; give {' and '.join(f'--{name}' for name in names)}"


def _explain_no_file(key: str, path: str) -> str:
    given = Path(path)
    if given.is_relative_to(Path.cwd()):  # as it was written, most likely
        given = given.relative_to(Path.cwd())
    siblings = [entry.name for entry in given.parent.iterdir()] if given.parent.is_dir() else []
    near = nearest(given.name, siblings)
    advice = f"did you mean {given.with_name(near)}?" if near and near != given.name else "give one that is there"
    return f"{key}: got {given}; expected an existing file; {advice}"


def _explain_yaml(mistake: yaml.MarkedYAMLError, files: list[str]) -> str:
    mark = mistake.problem_mark or mistake.context_mark
    place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"config: {_last(files)}{place}: no valid YAML, {mistake.problem}; correct it there"


def _yaml_mistake(error: BaseException | None) -> yaml.MarkedYAMLError | None:
    while error is not None and not isinstance(error, yaml.MarkedYAMLError):
        error = error.__cause__ or error.__context__
    return error


def _last(files: list[str]) -> str:
    return files[-1] if files else "the text that was given"


def _shown(value: str | None) -> str:
    """Return a value as people write it; a nested option of jsonargparse is its value alone."""
    if value is None:
        return "something else"
    if match := re.match(r"NestedArg\(key='[^']*', val=(.*)\)$", value):
        value = match[1].strip("'")
    if re.match(r"None(\. Got value: |$)", value):
        return "null"
    return repr(value) if len(value) <= 80 else repr(value[:77] + "...")


def _expected(kinds: list[str], given: str | None, known: list[str]) -> str:
    words = list(dict.fromkeys(_kind(kind) for kind in kinds))
    text = " or ".join(words)
    choices = [choice for kind in kinds if "Literal[" in kind for choice in re.findall(r"'([^']*)'", kind)] + known
    near = nearest(given, choices) if given and choices else None
    return f"{text}; did you mean {near}?" if near else text


def _kind(kind: str) -> str:
    if kind in _WORDS:
        return _WORDS[kind]
    if "Literal[" in kind:
        return f"one of {', '.join(re.findall(r'[^][, ]+', kind.split('Literal')[1])).replace(chr(39), '')}"
    if kind.startswith(_CLASS_PATH):
        return "the path of a class (my_module.MyClass)"
    if match := re.match(r"<class '([^']+)'>$", kind):
        return f"a {match[1].rpartition('.')[2]}"
    return f"a {kind}"


def _known(parser: ArgumentParser, subcommand: str = "") -> Iterator[str]:
    """Yield the dotted keys that a parser takes in config files."""
    if subcommand and parser._subcommands_action is not None:
        parser = parser._subcommands_action._name_parser_map[subcommand]
    for action in parser._actions:
        if action.help != "==SUPPRESS==" and action.dest not in ("help", "print_config"):
            yield action.dest


def _class_names(text: str) -> list[str]:
    """Return the names of fairlit's classes that would do where a message of jsonargparse names their base class."""
    names: list[str] = []
    for module, name in re.findall(r"<class '([\w.]+)\.(\w+)'>", text):
        bases = [getattr(sys.modules.get(module), name, object)]
        while bases:
            found = bases.pop()
            bases += found.__subclasses__() if found is not object else []
            names += (
                [found.__name__] if found.__module__.startswith("fairlit.") and not inspect.isabstract(found) else []
            )
    return names


def _keys_of_class(class_path: str, prefix: str) -> list[str]:
    """Return the keys that a class takes when it is built, those of dataclasses among them too."""
    module, _, name = class_path.rpartition(".")
    try:
        return list(_keys(getattr(import_module(module), name), prefix))
    except (ImportError, AttributeError, TypeError, ValueError, NameError):
        return []


def _keys(entry: Any, prefix: str) -> Iterator[str]:
    hints = get_type_hints(entry if is_dataclass(entry) else entry.__init__)
    for name in inspect.signature(entry).parameters:
        yield f"{prefix}.{name}"
        if is_dataclass(hints.get(name)):
            yield from _keys(hints[name], f"{prefix}.{name}")
