"""Files are versioned: older ones are read, newer ones refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from result_files import old_content, old_file

from fairlit.errors import ConfigurationError
from fairlit.results import AuditResults, ComparisonResults, RunSummary, ValidationResults
from fairlit.results.files import FileRecord

RECORDS: dict[str, type[FileRecord]] = {
    "audit": AuditResults,
    "groups": AuditResults,
    "comparison": ComparisonResults,
    "summary": RunSummary,
    "validation": ValidationResults,
}


@pytest.mark.parametrize("name", RECORDS)
def test_records_are_written_and_read_equal(name: str, tmp_path: Path) -> None:
    record = RECORDS[name].read(old_file(name))
    path = record.write(tmp_path)
    assert path == tmp_path / record.FILE
    assert next(iter(json.loads(path.read_text()).items())) == ("schema", 1)
    assert RECORDS[name].read(tmp_path) == RECORDS[name].read(path) == record
    assert record.write(tmp_path / "other.json") == tmp_path / "other.json"
    assert (tmp_path / "other.json").read_text() == path.read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("cut {", "got no JSON"),
        ("[1]", "got no JSON object"),
        ('{"schema": 2}', "schema: got 2; expected 1 at most; update fairlit to read it"),
        ('{"schema": "one"}', "schema: got 'one'; expected a whole number"),
        ('{"schema": 1}', "verdict: got no such key"),
        ("{}", "verdict: "),
    ],
)
def test_what_cannot_be_read_says_why(content: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=message) as caught:
        AuditResults.read(path)
    assert str(path) in str(caught.value)


def test_results_of_another_kind_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="got no such key"):
        RunSummary.from_json(old_content("validation"))
    with pytest.raises(ConfigurationError, match=r"got no results.json of fairlit 0.1.0"):
        ComparisonResults.from_json(old_content("audit"))
