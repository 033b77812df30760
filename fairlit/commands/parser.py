"""Parsers of jsonargparse with short messages in fairlit's own form."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NoReturn

import yaml  # type: ignore[import-untyped]
from jsonargparse import Namespace, get_loader, set_loader, set_parsing_settings
from jsonargparse._actions import _ActionConfigLoad
from jsonargparse._common import get_parsing_setting

from fairlit.commands.parser_messages import explain
from fairlit.errors import ConfigurationError
from fairlit.io.yaml_files import load_yaml

# jsonargparse 4.53 reads every config file and value with this loader.
set_loader("yaml", partial(load_yaml, load=get_loader("yaml")), exceptions=(yaml.YAMLError,))


class PlainMessages:
    """Mixin for parsers of jsonargparse: a mistake becomes one `ConfigurationError`, without a wall of usage.

    Options cannot be abbreviated: a later release may add one that begins alike.

    Example:
        >>> from jsonargparse import ArgumentParser
        >>> class Parser(PlainMessages, ArgumentParser):
        ...     pass
        >>> parser = Parser(prog="fairlit audit")
        >>> _ = parser.add_argument("--images", type=int)
        >>> parser.parse_args(["--imagse", "3"])
        Traceback (most recent call last):
        ...
        fairlit.errors.ConfigurationError: --imagse: unknown option; did you mean --images?
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)
        self.config_files: list[str] = []
        """Config files read so far, in order; messages say where in them a mistake is."""

    def parse_path(self, cfg_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Notes the file, then parses it as jsonargparse does."""
        self.config_files.append(str(cfg_path))
        return super().parse_path(cfg_path, *args, **kwargs)  # type: ignore[misc]

    def validate(self, *args: Any, **kwargs: Any) -> None:
        """Checks values as jsonargparse does, and that none is null unless its type says so."""
        # jsonargparse 4.53 takes null for "not given", of every type, unless something else stands for that. Only here:
        # with that setting, it writes null into config files as the text 'None' where a path is allowed.
        super().validate(*args, **kwargs)  # type: ignore[misc]
        within = getattr(self, "_inner_parser", False) or _null_is_a_value()
        if not within and self._subcommands_action is None:  # type: ignore[attr-defined]
            set_parsing_settings(unset_sentinel=True)
            try:
                super().validate(*args, **kwargs)  # type: ignore[misc]
            finally:
                set_parsing_settings(unset_sentinel=False)

    def _check_value_key(self, action: Any, value: Any, key: str, *args: Any, **kwargs: Any) -> Any:
        """Checks a value; jsonargparse 4.53 lets null pass for switches and groups, and fails at it for lists."""
        if _null_is_a_value() and not _holds_null(value):
            return value  # it was checked just before, see `validate`
        group = isinstance(action, _ActionConfigLoad)
        if value is None and _null_is_a_value() and (group or action.nargs in (0, "+", "*")):
            kind = dict if group else bool if action.nargs == 0 else list
            raise TypeError(f'Parser key "{key}": Expected a {kind}. Got value: None')
        return super()._check_value_key(action, value, key, *args, **kwargs)  # type: ignore[misc]

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises what is wrong as a `ConfigurationError`; parsers within the parser go on as jsonargparse wants."""
        if not self.exit_on_error:  # type: ignore[attr-defined]
            super().error(message, ex)  # type: ignore[misc]
        raise ConfigurationError(explain(message, ex, self)) from ex  # type: ignore[arg-type]


def _null_is_a_value() -> bool:
    return get_parsing_setting("unset_sentinel") is not None


def _holds_null(value: Any) -> bool:
    """Whether a value is null, or holds one at any depth."""
    if isinstance(value, Namespace | Mapping):
        return any(map(_holds_null, (vars(value) if isinstance(value, Namespace) else value).values()))
    return value is None or (isinstance(value, list | tuple) and any(map(_holds_null, value)))
