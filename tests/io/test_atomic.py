"""Files are whole or not there."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fairlit.errors import CheckpointError, ConfigurationError
from fairlit.io import atomic
from fairlit.io.atomic import atomic_files, atomic_folder, atomic_path, atomic_write_text


def test_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.txt"
    for text in ("first", "second"):
        assert atomic_write_text(target, text) == target
        assert target.read_text() == text
    assert list(target.parent.iterdir()) == [target]


def test_old_file_survives_an_exception(tmp_path: Path) -> None:
    target = atomic_write_text(tmp_path / "file.txt", "old")

    def write_half(path: Path) -> None:
        path.write_text("ne")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), atomic_path(target) as temporary:
        write_half(temporary)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_writing_nothing_is_an_error(tmp_path: Path) -> None:
    target = atomic_write_text(tmp_path / "file.txt", "old")
    with pytest.raises(FileNotFoundError), atomic_path(target):
        pass
    assert target.read_text() == "old"


def test_temporary_is_beside_and_keeps_the_suffix(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "grid.png") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".png"
        assert not temporary.name.endswith("grid.png")  # loaders that look for a name must not find half a file
        temporary.write_bytes(b"x")


def test_old_file_survives_kill_minus_nine(tmp_path: Path) -> None:
    target = atomic_write_text(tmp_path / "file.txt", "old")
    script = f"""
import importlib.util, os, signal
spec = importlib.util.spec_from_file_location("atomic", {atomic.__file__!r})
atomic = importlib.util.module_from_spec(spec)
spec.loader.exec_module(atomic)
with atomic.atomic_path({str(target)!r}) as temporary:
    temporary.write_text("ne")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    finished = subprocess.run([sys.executable, "-c", script], check=False)
    assert finished.returncode == -signal.SIGKILL
    assert target.read_text() == "old"
    assert atomic_write_text(target, "new").read_text() == "new"


def test_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder"
    with atomic_folder(target) as temporary:
        assert temporary.parent == target.parent
        (temporary / "inner").mkdir()
        (temporary / "inner" / "file.txt").write_text("whole")
        assert not target.exists()
    assert (target / "inner" / "file.txt").read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]

    def write_half(folder: Path) -> None:
        (folder / "file.txt").write_text("ha")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), atomic_folder(tmp_path / "other") as temporary:
        write_half(temporary)
    assert list(tmp_path.iterdir()) == [tmp_path / "new"]


def test_folder_takes_the_place_of_an_empty_one_only(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with atomic_folder(tmp_path / "empty") as temporary:
        (temporary / "file.txt").write_text("whole")
    with (
        pytest.raises(ConfigurationError, match="that holds something"),
        atomic_folder(tmp_path / "empty") as temporary,
    ):
        (temporary / "file.txt").write_text("another")
    assert (tmp_path / "empty" / "file.txt").read_text() == "whole"
    assert list(tmp_path.iterdir()) == [tmp_path / "empty"]


def test_of_two_that_make_one_folder_the_first_stands(tmp_path: Path) -> None:
    target = tmp_path / "out"

    def make(second: Path) -> None:
        (second / "file.txt").write_text("second")
        with atomic_folder(target) as first:
            (first / "file.txt").write_text("first")

    meant = pytest.raises(ConfigurationError, match=r"out: got a folder that holds something, .* expected a new")
    with meant, atomic_folder(target) as second:
        make(second)
    assert (target / "file.txt").read_text() == "first"
    with pytest.raises(ConfigurationError, match=r"other: got a file"), atomic_folder(tmp_path / "other") as second:
        (tmp_path / "other").write_text("a file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out"]


def test_files_take_their_places_together_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "adaptor"
    target.mkdir()
    for name in ("a", "b", "other"):
        (target / name).write_text("old")
    (tmp_path / "link").symlink_to(target)

    def write(folder: Path, refused: bool) -> None:
        for name in ("a", "b", "scratch"):
            (folder / name).write_text("new")
        if refused:
            raise CheckpointError(f"{folder / 'a'}: something else")

    meant = pytest.raises(CheckpointError, match=f"^{target}/a: something else; {target} is as it was before$")
    with meant, atomic_files(target, ["a", "b"]) as fresh:
        write(fresh, refused=True)
    assert {path.name: path.read_text() for path in target.iterdir()} == dict.fromkeys(("a", "b", "other"), "old")
    for place in (tmp_path / "link", tmp_path / "new"):
        with atomic_files(place, ["a", "b"]) as fresh:
            write(fresh, refused=False)
    assert {path.name: path.read_text() for path in target.iterdir()} == {"a": "new", "b": "new", "other": "old"}
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a", "b"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adaptor", "link", "new"]


def test_a_file_that_is_not_written_again_does_not_stay(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("old")
    with atomic_files(tmp_path, ["a", "b", "c"]) as fresh:
        (fresh / "a").write_text("new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "new"}


def test_text_that_utf_8_cannot_write_is_spelt_as_json_reads_it_back(tmp_path: Path) -> None:
    content = {"caf\udce9.png": "é\ud800"}
    path = atomic_write_text(tmp_path / "results.json", json.dumps(content, ensure_ascii=False))
    assert json.loads(path.read_text(encoding="utf-8")) == content
