"""Files that hold one record: versioned JSON, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from fairlit.errors import ConfigurationError
from fairlit.io.atomic import atomic_write_text
from fairlit.results.record import Record, decode, encode

SCHEMA = "schema"
"""Key of a file's version."""


def check_schema(content: Mapping[str, Any], newest: int, place: str) -> int:
    """Return the version of a file's content; 0 where it carries none, as those of fairlit 0.1.0.

    Raises:
        ConfigurationError: the version is newer than `newest`, or no version.
    """
    found = content.get(SCHEMA, 0)
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise ConfigurationError(f"{place}: schema: got {found!r}; expected a whole number; write the file anew")
    if found > newest:
        raise ConfigurationError(f"{place}: schema: got {found}; expected {newest} at most; update fairlit to read it")
    return found


@dataclass(frozen=True)
class FileRecord(Record):
    """A record with a file of its own."""

    VERSION: ClassVar[int] = 1
    """Number of the format that is written, under ``schema``."""

    FILE: ClassVar[str]
    """Name of the file in a folder of results."""

    def to_json(self) -> dict[str, Any]:
        """Return what is written: plain data, the version first."""
        return {SCHEMA: self.VERSION, **encode(self)}

    @classmethod
    def from_json(cls, content: object, place: str = "results") -> Self:
        """Return the record of decoded JSON, of this version or an older one.

        Args:
            content: decoded JSON.
            place: name of its file, for messages.

        Raises:
            ConfigurationError: the version is newer than this program's, or the content is something else.
        """
        if not isinstance(content, Mapping):
            raise ConfigurationError(f"{place}: got no JSON object; expected results; give a file of fairlit")
        if check_schema(content, cls.VERSION, place):
            return decode(cls, content, place)
        try:
            current = cls._from_unversioned(content)
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigurationError(
                f"{place}: got no {cls.FILE} of fairlit 0.1.0 ({error!r}); expected one; write the file anew"
            ) from error
        return decode(cls, current, place)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Return the record of a file, of this version or an older one.

        Args:
            path: the file, or the folder of results that it lies in.

        Raises:
            ConfigurationError: there is no such file, or it is damaged, newer, or something else.
        """
        file = Path(path) / cls.FILE if Path(path).is_dir() else Path(path)
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigurationError(
                f"results: got {file}, which cannot be read ({error.strerror}); expected a {cls.FILE}; give its path"
            ) from error
        except ValueError as error:
            raise ConfigurationError(f"{file}: got no JSON ({error}); expected results; write the file anew") from error
        return cls.from_json(content, str(file))

    def write(self, path: str | Path) -> Path:
        """Write the record to a file, or as `FILE` into a folder that exists, and return the file's path."""
        file = Path(path) / self.FILE if Path(path).is_dir() else Path(path)
        text = json.dumps(self.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
        return atomic_write_text(file, text + "\n")

    @classmethod
    def _from_unversioned(cls, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the content of a file of fairlit 0.1.0 with today's keys."""
        return content
