"""One line of a folder's ``manifest.jsonl``: an image, and how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fairlit.results.files import SCHEMA, check_schema
from fairlit.results.record import OPTIONAL_KEY, REST, PlainData, Record, decode, encode


@dataclass(frozen=True, kw_only=True)
class ManifestEntry(Record):
    """One image of a folder.

    Attributes:
        file: its path, relative to the manifest, with forward slashes.
        prompt: prompt that it was made for.
        number: number among the prompt's images, from 0; None where nobody has said.
        family: family of the prompt; None where nobody has said.
        noise_key: key of its noise; None where nobody has said.
        num_people: number of people that the prompt asks for; None where nobody has said.
        dealt_classes: attribute -> class that the method asked for in this image, whatever is seen in it; None where
            it deals none out, or nobody has said.
        further: everything else that the line says, such as model, method and settings; merged with the other keys
            in JSON.

    Example:
        >>> entry = ManifestEntry.from_json({"file": "a/0.png", "prompt": "two chefs", "people": 2, "steps": 12})
        >>> entry.num_people, entry.further
        (2, {'steps': 12})
        >>> entry.to_json()
        {'schema': 1, 'file': 'a/0.png', 'prompt': 'two chefs', 'num_people': 2, 'steps': 12}
    """

    VERSION: ClassVar[int] = 1

    file: str
    prompt: str
    number: int | None = field(default=None, metadata=OPTIONAL_KEY)
    family: str | None = field(default=None, metadata=OPTIONAL_KEY)
    noise_key: tuple[int, ...] | None = field(default=None, metadata=OPTIONAL_KEY)
    num_people: int | None = field(default=None, metadata=OPTIONAL_KEY)
    dealt_classes: Mapping[str, str] | None = field(default=None, metadata=OPTIONAL_KEY)
    further: PlainData = field(default_factory=dict, metadata=REST)

    def to_json(self) -> dict[str, Any]:
        """Return what is written: plain data, the version first."""
        return {SCHEMA: self.VERSION, **encode(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], place: str = "manifest") -> ManifestEntry:
        """Return the entry of decoded JSON, of this version or an older one.

        What a line says of number, family, noise, people or classes is passed over where it cannot be that: lines may
        be written by hand.

        Args:
            content: decoded JSON of a line.
            place: name of the file, for messages.

        Raises:
            ConfigurationError: the line is newer than this program, or lacks ``file`` or ``prompt``.
        """
        check_schema(content, cls.VERSION, place)
        current = {key: value for key, value in content.items() if key != SCHEMA}
        if "people" in current:  # the key of fairlit 0.1.0
            current.setdefault("num_people", current.pop("people"))
        for key, fits in _FITS.items():
            if key in current and not fits(current[key]):
                del current[key]
        return decode(cls, current, place)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_FITS: Mapping[str, Any] = {
    "number": _whole,
    "family": lambda value: isinstance(value, str),
    "noise_key": lambda value: isinstance(value, list | tuple) and bool(value) and all(map(_whole, value)),
    "num_people": lambda value: _whole(value) and value > 0,
    "dealt_classes": lambda value: isinstance(value, Mapping) and all(isinstance(one, str) for one in value.values()),
}
