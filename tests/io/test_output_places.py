from __future__ import annotations

import os
from pathlib import Path

import pytest

from fairlit.cli import main
from fairlit.errors import Problems
from fairlit.io.output_places import check_writable


def messages(path: Path, **settings: bool) -> list[str]:
    problems = Problems("test")
    check_writable(path, "out", problems, **settings)
    return problems.messages


def test_places_that_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "new", tmp_path / "a" / "b"):
        assert messages(path) == []
    for path in (tmp_path / "file", tmp_path / "new", tmp_path / "a" / "b"):
        assert messages(path, folder=False) == []


def test_places_that_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.touch()
    assert messages(file) == [f"out: {file} is a file; give a folder"]
    assert messages(tmp_path, folder=False) == [f"out: {tmp_path} is a folder; give a file"]
    for path, folder in ((file / "a" / "b", True), (file / "a", False)):
        [message] = messages(path, folder=folder)
        assert message.startswith(f"out: got {path}, which cannot be written to ({file} is a file); give ")
    monkeypatch.setattr(os, "access", lambda *_: False)  # for root, nothing but a read-only disk is
    assert "may not be written to" in messages(tmp_path / "new")[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", "a chef", "--model", "m", "--out"],
        ["audit", "pictures", "--out"],
        ["compare", "--out"],
        ["edit", "pictures", "--out"],
        ["export", "adaptor", "--out"],
        ["face-bank", "pictures", "--out"],
        ["classifier", "import", "published", "file", "--out"],
        ["fit", "--config", "demo", "--trainer.default_root_dir"],
        ["test", "--config", "demo", "--trainer.default_root_dir"],
    ],
    ids=lambda arguments: "_".join(arguments[:2]),
)
def test_every_command_says_so_before_it_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "out"
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, str(place)])
    assert stopped.value.code == 2
    assert f"got {place}, which cannot be written to" in capsys.readouterr().err
