"""Records of edits: what is written comes back, and what fairlit 0.1.0 wrote is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fairlit.errors import ConfigurationError
from fairlit.results.edits import EditLog, EditRecord, SetEdits, read_edits

OLD_EDIT: dict[str, Any] = {
    "box": [1.0, 2.0, 3.5, 4.0],
    "before": {"gender": "female"},
    "wanted": {"gender": "male"},
    "tries": 2,
    "instead": False,
    "made": True,
}
OLD_SET: dict[str, Any] = {
    "set": "two people",
    "faces": 3,
    "fewest": 1,
    "before": [2, 1],
    "after": [1, 2],
    "pixels": 100,
    "pixels_in_regions": 20,
    "pixels_changed_outside": 0,
    "compositions": {"2": {"2 female": [1, 0]}},
    "images": [{"file": "a.png", "source": "a.jpg", "edits": [OLD_EDIT], "mark": [10, 99]}],
    "damaged": [{"file": "b.png", "reason": "cut short", "mark": [0, 7]}],
}


def test_what_version_0_1_0_wrote_is_read(tmp_path: Path) -> None:
    file = tmp_path / "edits.jsonl"
    file.write_text("\n".join([json.dumps({"model": "m"}), json.dumps(OLD_SET), '{"set": "cut']))
    log = EditLog.read(file)
    assert log is not None
    assert (log.settings, len(log.sets)) == ({"model": "m"}, 1)
    [edit] = log.sets[0].edits
    assert (edit.target_labels, edit.box, edit.confirmed) == ({"gender": "male"}, (1.0, 2.0, 3.5, 4.0), None)
    assert log.sets[0].images[0].changed
    assert read_edits({"edits": [OLD_EDIT]}) == [edit]
    assert read_edits(None) == []


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    record = SetEdits.from_json(OLD_SET)
    log = EditLog(settings={"model": "m"}, sets=[record])
    log.write(tmp_path / "edits.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "edits.jsonl").read_text().splitlines()]
    assert {key: value for key, value in lines[0].items() if key != "digest"} == {"schema": 1, "model": "m"}
    [edit] = lines[1]["images"][0]["edits"]
    assert edit == {"target_labels" if key == "wanted" else key: value for key, value in OLD_EDIT.items()}
    assert EditLog.read(tmp_path / "edits.jsonl") == log
    assert EditLog.read(tmp_path / "nowhere.jsonl") is None


def test_later_versions_and_damage_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "edits.jsonl"
    file.write_text('{"schema": 2}\n')
    with pytest.raises(ConfigurationError, match="got 2; expected 1 at most"):
        EditLog.read(file)
    with pytest.raises(ConfigurationError, match="target_labels"):
        EditRecord.from_json({key: value for key, value in OLD_EDIT.items() if key != "wanted"})


def test_damaged_lines_are_left_out_and_damaged_settings_leave_nothing(tmp_path: Path) -> None:
    file, record = tmp_path / "edits.jsonl", SetEdits.from_json(OLD_SET)
    EditLog(settings={"model": "m"}, sets=[record, record]).write(file)
    settings, first, second = file.read_bytes().splitlines(keepends=True)
    for damaged in (b"\xff\xfe\n", b'"x"\n', b"{}\n", first[:-20], first.replace(b'"female"', b'"femble"')):
        file.write_bytes(settings + damaged.rstrip() + b"\n" + second)
        log = EditLog.read(file)
        assert log is not None
        assert list(log.sets) == [record]
    file.write_bytes(settings.replace(b'"m"', b'"n"') + first)
    assert EditLog.read(file) is None
