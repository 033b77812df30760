"""Lines of manifests, those of fairlit 0.1.0 and those written by hand included."""

from __future__ import annotations

import json

import pytest
from result_files import FILES

from fairlit.errors import ConfigurationError
from fairlit.results.manifest import ManifestEntry

LINES = [json.loads(line) for line in (FILES / "manifest_0_1_0.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("line", LINES)
def test_lines_of_0_1_0_lose_nothing(line: dict[str, object]) -> None:
    entry = ManifestEntry.from_json(line)
    assert entry.num_people == line.get("people")
    assert (entry.file, entry.number, entry.noise_key) == (line["file"], line["number"], tuple(line["noise_key"]))  # type: ignore[arg-type]
    expected = {"num_people" if key == "people" else key: value for key, value in line.items()}
    assert entry.to_json() == {"schema": 1, **expected}
    assert ManifestEntry.from_json(entry.to_json()) == entry


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("number", "3"),
        ("number", True),
        ("noise_key", []),
        ("noise_key", [1, "x"]),
        ("people", 0),
        ("people", None),
        ("dealt_classes", "female"),
        ("dealt_classes", {"gender": 0}),
    ],
)
def test_what_cannot_be_meant_is_passed_over(key: str, value: object) -> None:
    entry = ManifestEntry.from_json({"file": "a.png", "prompt": "p", key: value})
    assert entry == ManifestEntry(file="a.png", prompt="p")


def test_lines_without_a_file_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="manifest: file: got no such key"):
        ManifestEntry.from_json({"prompt": "p"})


def test_dealt_classes_are_written_and_read() -> None:
    entry = ManifestEntry(file="a.png", prompt="p", dealt_classes={"gender": "female", "age": "old"})
    assert entry.to_json()["dealt_classes"] == {"gender": "female", "age": "old"}
    assert ManifestEntry.from_json(entry.to_json()) == entry
