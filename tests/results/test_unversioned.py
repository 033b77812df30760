"""Files that fairlit 0.1.0 wrote give the same numbers under today's names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from result_files import old_content, old_file

from fairlit.results import AuditResults, ComparisonResults, RunSummary, ValidationResults

RENAMED = {
    "joint": "joint_classes",
    "people": "faces",
    "prompts_off": "prompts_off_target",
    "prompts_within": "prompts_on_target",
    "prompts_open": "prompts_inconclusive",
}
OUTCOMES = {"off": "off_target", "within": "on_target", "open": "inconclusive"}


def leaves(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every number and text of nested content with the keys that lead to it."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else None
    if pairs is None or not content:
        yield path, content
    else:
        for key, value in pairs:
            yield from leaves(value, (*path, str(key)))


def expected(name: str) -> dict[tuple[str, ...], Any]:
    """What a file says, under today's names."""
    found = {}
    for path, value in leaves(old_content(name)):
        keys = tuple(RENAMED.get(key, key) for key in path)
        if path[0] == "original":  # below, it is a variant of the model
            keys = ("reference_images", *keys[1:])
        if path[-1] == "standing":
            keys, value = (*keys[:-1], "outcome"), OUTCOMES[value]
        found[keys] = value
    return found


@pytest.mark.parametrize("name", ["audit", "groups"])
def test_audits(name: str) -> None:
    found = dict(leaves(AuditResults.read(old_file(name)).to_json()))
    wanted = expected(name)
    if wanted.get(("similarities",)) == {}:
        wanted["similarities",] = None
    assert found.pop(("schema",)) == 1
    assert found == wanted


def test_comparisons() -> None:
    found = dict(leaves(ComparisonResults.read(old_file("comparison")).to_json()))
    assert found.pop(("schema",)) == 1
    wanted = expected("comparison")
    assert found == wanted
    assert ("standing", "joint_classes", "best") in wanted


def test_summaries_and_validations() -> None:
    found = dict(leaves(RunSummary.read(old_file("summary")).to_json()))
    assert found.pop(("schema",)) == 1
    assert found.pop(("operating_points",)) == []
    assert found.pop(("distances",)) == []
    assert found.pop(("named_classes",)) == []
    assert found == expected("summary")
    validation = ValidationResults.read(old_file("validation")).to_json()["groups"]
    assert dict(leaves(validation)) == expected("validation")
    assert list(validation) == ["all"]
