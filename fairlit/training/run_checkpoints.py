"""The checkpoints of a run: where its trainer keeps them, which is the last, and how one more is saved."""

from __future__ import annotations

from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint

FOLDER, LAST = "checkpoints", "last"


def is_trial(trainer: L.Trainer) -> bool:
    """Return whether a trainer makes a `fast_dev_run`, which leaves nothing behind."""
    return bool(trainer.fast_dev_run)  # type: ignore[attr-defined]


def run_checkpoints(trainer: L.Trainer) -> list[Path]:
    """Return the checkpoints that runs with these settings have left, oldest first.

    Args:
        trainer: trainer of the run; nothing needs to have run with it.
    """
    found = {path for folder in _folders(trainer) for path in folder.glob("*.ckpt") if not path.name.startswith(".")}
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))


def last_checkpoint(trainer: L.Trainer) -> Path | None:
    """Return the newest checkpoint that is called last, the newest of all where none is, or None.

    Args:
        trainer: trainer of the run; nothing needs to have run with it.
    """
    found = run_checkpoints(trainer)
    named = [path for path in found if path.stem.startswith(LAST)]
    return max(named or found, key=found.index, default=None)


def save_last_checkpoint(trainer: L.Trainer) -> Path:
    """Save a checkpoint as the last of the run and return its path; every rank calls this.

    Args:
        trainer: trainer that runs.
    """
    folder = getattr(trainer.checkpoint_callback, "dirpath", None) or Path(trainer.default_root_dir) / FOLDER
    path = Path(folder) / f"{LAST}.ckpt"
    trainer.save_checkpoint(path)
    return path


def _folders(trainer: L.Trainer) -> list[Path]:
    """The folders of checkpoints: those that callbacks name, and the one that Lightning takes by itself."""
    named = [
        Path(callback.dirpath)
        for callback in trainer.checkpoint_callbacks
        if isinstance(callback, ModelCheckpoint) and callback.dirpath is not None
    ]
    root = Path(trainer.default_root_dir)
    if not trainer.loggers:
        return [*named, root / FOLDER]
    logger = trainer.loggers[0]
    versions, version = Path(logger.save_dir or root) / str(logger.name), logger.version
    own = versions / (version if isinstance(version, str) else f"version_{version}") / FOLDER
    # Loggers that count their versions give every command a new one; the run's checkpoints lie in an earlier one.
    return [*named, own] if own.is_dir() else [*named, *sorted(versions.glob(f"*/{FOLDER}"))]
