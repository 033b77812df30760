"""Configs that come with fairlit, found by their names."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from fairlit.errors import ConfigurationError
from fairlit.io.shipped import shipped_folder

_ENDINGS = (".yaml", ".yml")


def config_names() -> list[str]:
    """Return the names of all configs that come with fairlit, such as `demo` and `paper/exp3`."""
    folder = shipped_folder("configs")
    if folder is None:
        return []
    return sorted(file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.yaml"))


def find_config(name: str) -> Path:
    """Return the file of a config.

    Args:
        name: a file, or the name of a config that comes with fairlit, with or without ``configs/`` in front and
            ``.yaml`` behind. A file that exists goes first.

    Raises:
        ConfigurationError: there is neither.

    Example:
        >>> find_config("paper/exp3").name
        'exp3.yaml'
    """
    if Path(name).is_file():
        return Path(name)
    key, known, folder = _key(name), config_names(), shipped_folder("configs")
    if key in known and folder is not None:
        return folder / f"{key}.yaml"
    near = get_close_matches(key, known, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    where = f" Configs of fairlit are in {folder}." if folder is not None else ""
    raise ConfigurationError(f"config: got {name!r}; expected a file, or the name of a config of fairlit{meant}{where}")


def _key(name: str) -> str:
    key = name.removeprefix("./").removeprefix("configs/")
    return next((key.removesuffix(ending) for ending in _ENDINGS if key.endswith(ending)), key)
