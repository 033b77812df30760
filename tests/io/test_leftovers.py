"""What killed processes leave is removed by the next one; what may still be written is not."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fairlit.io import leftovers
from fairlit.io.atomic import atomic_folder, atomic_path, atomic_write_text

OLD = ".out.0123456789ab.partial"  # of earlier versions, without the writer
WRITER = "{host}-{process}-0123456789ab"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(logging.getLogger("fairlit"), "propagate", True)
    caplog.set_level(logging.INFO, "fairlit")
    monkeypatch.setattr(leftovers, "_cleared", set())
    return caplog


def partial(folder: Path, name: str, days: float = 0) -> Path:
    path = folder / name
    path.mkdir()
    (path / "weights").write_bytes(b"half")
    age(path, days)
    return path


def age(path: Path, days: float) -> None:
    changed = path.stat().st_mtime - 86_400 * days
    os.utime(path, (changed, changed))


def gone_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_killed_writer_s_folder_and_file_go_with_the_next(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    script = f"""
import os, signal
from fairlit.io.atomic import atomic_folder, atomic_path
with atomic_folder({str(tmp_path / "out")!r}) as folder, atomic_path({str(tmp_path / "file.ckpt")!r}) as file:
    (folder / "weights").write_text("half")
    file.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    left = sorted(tmp_path.iterdir())
    assert len(left) == 2
    with atomic_folder(tmp_path / "another"):  # another place: no business of its
        pass
    assert sorted(path for path in tmp_path.iterdir() if path.name != "another") == left
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "weights").write_text("whole")
    atomic_write_text(tmp_path / "any.txt", "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["another", "any.txt", "out"]
    assert sorted(message.split()[1] for message in log.messages) == sorted(f"{path}:" for path in left)


def test_what_may_still_be_written_stays_and_is_named(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    host, own = leftovers._host(), os.getpid()
    names = [
        OLD,
        f".out.{WRITER.format(host=host, process=own)}.partial",
        f".out.{WRITER.format(host='0' * 8, process=gone_process())}.partial",  # of another machine
    ]
    kept = [partial(tmp_path, name, days=0.9) for name in names]
    foreign = [
        partial(tmp_path, name, days=9) for name in (".out.partial", ".out.0123.partial", "out.0123456789ab.partial")
    ]
    with atomic_folder(tmp_path / "out"):
        pass
    assert all(path.is_dir() for path in kept + foreign)
    assert sorted(message.split()[1] for message in log.messages) == sorted(f"{path}:" for path in kept)
    log.clear()
    for path in kept:
        age(path, 0.2)
    with atomic_folder(tmp_path / "out"):
        pass
    assert not any(path.exists() for path in kept)
    assert all(path.is_dir() for path in foreign)
    assert all(message.startswith("removed ") for message in log.messages)
    assert len(log.messages) == 3


def test_links_are_not_followed(tmp_path: Path) -> None:
    precious = partial(tmp_path, "precious", days=9)
    (tmp_path / OLD).symlink_to(precious)
    with atomic_folder(tmp_path / "out"):
        pass
    assert (precious / "weights").is_file()


def test_files_of_living_processes_stay_and_folders_are_looked_at_once(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    living = tmp_path / f".a.{WRITER.format(host=leftovers._host(), process=os.getpid())}.partial.png"
    dead = tmp_path / f".a.{WRITER.format(host=leftovers._host(), process=gone_process())}.partial.png"
    for path in (living, dead):
        path.write_bytes(b"half")
    atomic_write_text(tmp_path / "b.txt", "whole")
    assert (living.exists(), dead.exists()) == (True, False)
    dead.write_bytes(b"half")
    atomic_write_text(tmp_path / "b.txt", "whole")
    assert dead.exists()


def test_names_as_long_as_the_file_system_takes_them(tmp_path: Path) -> None:
    for name in ("é" * 127, "a" * 251 + ".png"):
        with atomic_path(tmp_path / name) as temporary:
            temporary.write_bytes(b"whole")
        assert (tmp_path / name).read_bytes() == b"whole"
