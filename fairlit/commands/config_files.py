"""The option `--config` of every command, and paths of files that come with fairlit."""

from __future__ import annotations

from typing import Any

from jsonargparse import ActionConfigFile, Namespace

from fairlit.errors import Problems
from fairlit.io.configs import find_config
from fairlit.io.shipped import EXAMPLES, is_missing_example, locate

CONFIG_HELP = "file of settings, or name of a config that comes with fairlit (demo, paper/exp3); may be repeated"


class ConfigFile(ActionConfigFile):
    """A config file, by its path or by its name: ``--config demo``, ``--config paper/exp3``.

    Example:
        >>> from jsonargparse import ArgumentParser
        >>> parser = ArgumentParser()
        >>> _ = parser.add_argument("--config", action=ConfigFile)
    """

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        """Parse the file into `cfg`."""
        found = values if _is_content(values) else str(find_config(values))
        super().__call__(parser, cfg, found, option_string)  # type: ignore[no-untyped-call]


def locate_shipped(config: Namespace) -> Namespace:
    """Return parsed settings in which paths of files that come with fairlit say where these are installed.

    A path stays as it is where it exists; see `fairlit.io.shipped`.

    Raises:
        ConfigurationError: example models are named and not installed.
    """
    missing: dict[str, None] = {}
    located = _located(config, missing)
    with Problems("example models") as problems:
        if missing:
            problems.add(
                f"got {', '.join(missing)}; expected them here or installed; run `pip install {EXAMPLES}`, "
                "or give models of your own"
            )
    assert isinstance(located, Namespace)
    return located


def _located(value: Any, missing: dict[str, None]) -> Any:
    if isinstance(value, str):
        if is_missing_example(value):
            missing[value] = None
        return locate(value)
    if isinstance(value, Namespace):
        changed = Namespace()
        vars(changed).update({key: _located(entry, missing) for key, entry in vars(value).items()})
        return changed
    if isinstance(value, dict):
        return {key: _located(entry, missing) for key, entry in value.items()}
    if isinstance(value, list):
        return [_located(entry, missing) for entry in value]
    return value


def _is_content(text: str) -> bool:
    """Whether a value is settings rather than where they are."""
    return "\n" in text or text.lstrip().startswith("{") or ": " in text
