"""The schemas in the docs are those of the records, and files fit them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from result_files import FILES as OLD_FILES
from result_files import old_file

from fairlit.results import AuditResults, ComparisonResults, RunSummary, ValidationResults
from fairlit.results.manifest import ManifestEntry
from fairlit.results.schemas import FILES, json_schema, write_schemas

jsonschema = pytest.importorskip("jsonschema")
DOCS = Path(__file__).parents[2] / "docs" / "schemas"
WRITTEN: dict[str, Any] = {
    "audit": AuditResults,
    "groups": AuditResults,
    "comparison": ComparisonResults,
    "summary": RunSummary,
    "validation": ValidationResults,
}


def test_the_docs_are_up_to_date(tmp_path: Path) -> None:
    for path in write_schemas(tmp_path):
        assert (DOCS / path.name).read_text() == path.read_text(), "run `python -m fairlit.results.schemas`"
    assert {path.name for path in DOCS.iterdir()} == {f"{name}.json" for name in FILES}


@pytest.mark.parametrize("name", FILES)
def test_schemas_are_valid_and_every_key_is_described(name: str) -> None:
    schema = json_schema(FILES[name])
    jsonschema.Draft202012Validator.check_schema(schema)
    for part in (schema, *schema["$defs"].values()):
        assert part["description"]
        assert all(entry["description"] for entry in part["properties"].values())


@pytest.mark.parametrize("name", WRITTEN)
def test_written_files_fit_and_others_do_not(name: str) -> None:
    record = WRITTEN[name]
    validator = jsonschema.Draft202012Validator(json_schema(record))
    content = record.read(old_file(name)).to_json()
    validator.validate(json.loads(json.dumps(content)))
    assert not validator.is_valid(content | {"schema": 2})
    for key in content:
        assert not validator.is_valid({other: value for other, value in content.items() if other != key})


def test_lines_of_manifests_fit() -> None:
    validator = jsonschema.Draft202012Validator(json_schema(ManifestEntry))
    for line in (OLD_FILES / "manifest_0_1_0.jsonl").read_text().splitlines():
        validator.validate(ManifestEntry.from_json(json.loads(line)).to_json())
    assert not validator.is_valid({"schema": 1, "prompt": "p"})
