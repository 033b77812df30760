"""From a config class to a command: its arguments, its help, its config files, and its errors."""

from __future__ import annotations

import inspect
import shlex
from argparse import SUPPRESS, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from jsonargparse import DefaultHelpFormatter, Namespace

from fairlit.commands.class_arguments import with_class_arguments
from fairlit.commands.config_files import CONFIG_HELP, ConfigFile, locate_shipped
from fairlit.commands.renaming import RenamedKeys, RenamingParser
from fairlit.errors import Problems
from fairlit.io.class_paths import ClassSpec

Config = TypeVar("Config")


@dataclass(frozen=True, kw_only=True)
class ConfigCommand(Generic[Config]):
    """A command whose arguments are the fields of a config class.

    Attributes:
        name: what follows `fairlit` on the command line.
        config: frozen, keyword-only dataclass. Its docstring has the help of its fields, and its `heading` stands
            above them; the same holds for the blocks that it inherits from.
        description: what the command does.
        examples: command lines without `fairlit`.
        positional: field -> how often it may stand there without its name: `?` once at most, `*` any number of times.
        several: fields that take several values behind one name.
        renamed: old names of fields.
        shorthands: field -> short name of a value -> the value.
    """

    name: str
    config: type[Config]
    description: str
    examples: Sequence[str]
    positional: Mapping[str, str] = field(default_factory=dict)
    several: Sequence[str] = ()
    renamed: RenamedKeys = field(default_factory=lambda: RenamedKeys(renamed={}))
    shorthands: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def parse(self, arguments: Sequence[str]) -> Config:
        """Return the config that arguments describe.

        Args:
            arguments: what follows the command on the command line.

        Raises:
            ConfigurationError: an argument is wrong; all of them are named.
            SystemExit: after `--help` or `--print_config`.
        """
        parser = build_parser(self)
        given = locate_shipped(parser.parse_args(list(arguments)))
        values: dict[str, Any] = {}
        with Problems(self.name) as problems:
            for name in (entry.name for entry in fields(self.config)):  # type: ignore[arg-type]
                with problems.collecting():
                    value = parser.instantiate(Namespace({name: given[name]}))[name]
                    values[name] = tuple(value) if isinstance(value, list) else value
        return self.config(**values)

    def line(self, arguments: Sequence[str]) -> str:
        """Return the command line as one would type it."""
        return shlex.join(["fairlit", self.name, *arguments])


class HelpFormatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Help of arguments: what they are, and their default where there is one; no types."""

    def __init__(self, prog: str, **settings: Any) -> None:
        super().__init__(prog, max_help_position=28, width=118, **settings)  # type: ignore[no-untyped-call]

    def _format_action_invocation(self, action: Any) -> str:
        shown = super()._format_action_invocation(action)
        return shown.split(", --")[0] if "+" in shown else shown  # `--name+ VALUE` adds to a list: for experts

    def _get_help_string(self, action: Any) -> str:
        explained = super()._get_help_string(action) if not action.dest or action.help is None else action.help
        unset = action.default is None or action.default is False or action.default in ([], {}, (), SUPPRESS)
        if action.option_strings and not unset:
            return f"{explained} (default: %(default)s)"
        return str(explained)


class ConfigParser(RenamingParser):
    """The parser of one command.

    Attributes:
        shorthands: field -> short name of a value -> the value.
        class_settings: fields that take a class path, beside other values.
    """

    shorthands: Mapping[str, Mapping[str, str]] = MappingProxyType({})
    class_settings: Sequence[str] = ()

    def parse_args(self, args: Sequence[str] | None = None, *more: Any, **settings: Any) -> Namespace:  # type: ignore[override]
        """Parse arguments, with short names of values in the place of the values."""
        written = list(args or ())
        for name, values in self.shorthands.items():
            for place, argument in enumerate(written):
                option, _, value = argument.partition("=")
                if option == f"--{name}" and value in values:
                    written[place] = f"{option}={values[value]}"
                elif place and written[place - 1] == f"--{name}":
                    written[place] = values.get(argument, argument)
        written = self.renamed_keys.in_arguments(written)  # first: some arguments of a class have become settings
        return super().parse_args(with_class_arguments(written, self.class_settings), *more, **settings)


def build_parser(command: ConfigCommand[Any]) -> ConfigParser:
    """Return the parser of a command.

    Args:
        command: what to parse.
    """
    parser = ConfigParser(
        prog=f"fairlit {command.name}",
        usage=f"fairlit {command.name} {_usage(command)}[options]",
        description=command.description,
        epilog="examples:\n" + "\n".join(f"  fairlit {example}" for example in command.examples),
        formatter_class=HelpFormatter,
    )
    parser.renamed_keys, parser.shorthands = command.renamed, command.shorthands
    parser.class_settings = [entry.name for entry in fields(command.config) if entry.type == ClassSpec | None]
    parser.add_argument("--config", action=ConfigFile, help=CONFIG_HELP)
    parser._option_string_actions["--print_config"].help = "print all settings as YAML, and exit"
    for block, own in _blocks(command.config):
        group = parser.add_argument_group(block.heading)
        by_hand = {name for name in own if name in (*command.positional, *command.several, *_switches(block))}
        explained = _explanations(block)
        for name in (entry.name for entry in fields(block) if entry.name in by_hand):
            default = _default(block, name)
            kind = str | None if default is None else str
            flags = {"nargs": command.positional.get(name, "+"), "type": kind, "default": default}
            if name in _switches(block):
                flags = {"action": "store_true"}
            group.add_argument(name if name in command.positional else f"--{name}", help=explained[name], **flags)
        everything = {entry.name for entry in fields(block)}
        group.add_class_arguments(block, as_group=False, skip=(everything - own) | by_hand)
    for group in parser._action_groups:  # those of nested settings are headed by what the settings are
        group.title = (group.title or "")[:1].upper() + (group.title or "")[1:]
        for action in group._group_actions:
            if action.help == "Path to a configuration file.":
                action.help = "YAML file with the settings below"
    parser.set_defaults({entry.name: _default(command.config, entry.name) for entry in fields(command.config)})
    return parser


def _blocks(config: type) -> list[tuple[Any, set[str]]]:
    """The classes that a config class is built of, itself first, and the fields that each brings."""
    classes = [entry for entry in inspect.getmro(config) if hasattr(entry, "__dataclass_fields__")]
    inherited = {name for entry in classes[1:] for name in inspect.get_annotations(entry)}
    names = {entry.name for entry in fields(config)}
    return [
        (entry, (set(inspect.get_annotations(entry)) & names) - (inherited if entry is config else set()))
        for entry in classes
    ]


def _switches(config: Any) -> set[str]:
    """Fields that are off unless they are named."""
    return {entry.name for entry in fields(config) if entry.default is False}


def _default(config: type, name: str) -> Any:
    entry = next(entry for entry in fields(config) if entry.name == name)
    if entry.default_factory is not MISSING:
        value = entry.default_factory()
        return vars(value) if hasattr(value, "__dataclass_fields__") else value
    return entry.default


def _explanations(config: type) -> dict[str, str]:
    """What the docstring of a config class says of each field."""
    from docstring_parser import parse

    found = parse(inspect.getdoc(config) or "").params
    return {entry.arg_name: " ".join((entry.description or "").split()) for entry in found}


def _usage(command: ConfigCommand[Any]) -> str:
    marks = {"?": "[{}] ", "*": "[{} ...] "}
    return "".join(marks[count].format(name.upper()) for name, count in command.positional.items())
