from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from fairlit.callbacks.checkpoint_io import AtomicCheckpointIO, check_checkpoint
from fairlit.errors import CheckpointError, ConfigurationError


def content(value: float) -> dict[str, object]:
    return {"state_dict": {"weight": torch.full((300,), value)}, "loops": {"fit": {"step": [1, 2]}}, "epoch": 3}


class _Dying(dict[str, object]):
    """Dies while it is written, after some of it has been."""

    def __reduce__(self) -> tuple[object, ...]:
        raise KeyboardInterrupt


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(content(0.5), path)
    found = AtomicCheckpointIO().load_checkpoint(path)
    torch.testing.assert_close(found, content(0.5))
    assert check_checkpoint(str(path))["epoch"] == 3
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    plugin = AtomicCheckpointIO()
    plugin.save_checkpoint(content(1.0), path)
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        plugin.save_checkpoint({**content(2.0), "callbacks": _Dying()}, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_named_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(content(1.0), path)
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
    try:
        with pytest.raises(OSError, match="No space left on device") as full:
            AtomicCheckpointIO().save_checkpoint({**content(2.0), "more": torch.zeros(100_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert full.value.filename == str(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(content(1.0), path)
    whole = path.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"last\.ckpt cannot be read .*it is damaged"):
            AtomicCheckpointIO().load_checkpoint(path)


def test_a_changed_bit_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    """Either refused, or in a place that does not matter to what is read."""
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(content(1.0), path)
    whole = path.read_bytes()
    refused = 0
    for position in range(0, len(whole), 37):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 16]) + whole[position + 1 :])
        try:
            found = AtomicCheckpointIO().load_checkpoint(path)
        except CheckpointError:
            refused += 1
        else:
            torch.testing.assert_close(found, content(1.0), rtol=0, atol=0)
    assert refused > 300 * 4 / 37  # every position inside the tensor, at least


class _Code:
    def __reduce__(self) -> tuple[object, ...]:
        return (exec, ("raise SystemExit('code was run')",))


def test_pickled_code_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "evil.ckpt"
    torch.save({**content(1.0), "callbacks": _Code()}, path)
    with pytest.raises(CheckpointError, match=r"evil\.ckpt cannot be read"):
        AtomicCheckpointIO().load_checkpoint(path, weights_only=False)


@pytest.mark.parametrize("other", [torch.ones(3), [1, 2], {"weight": torch.ones(3)}])
def test_other_torch_files_are_refused(tmp_path: Path, other: object) -> None:
    path = tmp_path / "other.ckpt"
    torch.save(other, path)
    with pytest.raises(CheckpointError, match="is no training checkpoint; give one that `fairlit fit` wrote"):
        check_checkpoint(str(path))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"ckpt_path: '.*absent\.ckpt' does not exist; give a \.ckpt file"):
        check_checkpoint(str(tmp_path / "absent.ckpt"))
    with pytest.raises(CheckpointError, match="cannot be read"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "absent.ckpt")
