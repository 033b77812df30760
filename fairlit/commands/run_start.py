"""What a run starts from: its own last checkpoint, another one, or nothing; and what it must not replace."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning as L
from lightning.pytorch.plugins.environments import SLURMEnvironment

from fairlit.callbacks.checkpoint_io import check_checkpoint
from fairlit.callbacks.image_writer import ImageWriter
from fairlit.callbacks.model_files import WritesModel
from fairlit.errors import CheckpointError, ConfigurationError, Problems
from fairlit.pictures.manifest import MANIFEST, read_manifest
from fairlit.training.run_checkpoints import LAST, is_trial, last_checkpoint, run_checkpoints

UNTRAINED = "untrained"
"""In the place of a checkpoint: the model as training would start with it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunStart:
    """What a run starts from.

    Attributes:
        checkpoint: checkpoint to load; None: the model as it is before training.
        message: line for the terminal; empty where nothing needs to be said.
        removed: files of an earlier run, which are removed when this one starts.
    """

    checkpoint: Path | None
    message: str = ""
    removed: Sequence[Path] = ()


def training_start(
    given: str | None, trainer: L.Trainer, *, overwrite: bool, named_by_configs: bool, problems: Problems
) -> RunStart:
    """Return what `fit` starts from; note it where training would replace what an earlier run has left.

    Args:
        given: `ckpt_path` of the config: a file, `last`, or None.
        trainer: trainer of the run.
        overwrite: whether an earlier run may be replaced.
        named_by_configs: whether the run's folder was named after its configs.
        problems: collector of the messages.
    """
    root, found = Path(trainer.default_root_dir), run_checkpoints(trainer)
    if overwrite and given == LAST:
        problems.add("overwrite, ckpt_path: got both overwrite and last; give one of them")
    path = last_checkpoint(trainer) if given == LAST else Path(given) if given else None
    if path is not None:
        _check(path, problems)
        if path.resolve() in {entry.resolve() for entry in found}:
            return RunStart(path)
    if given is None and _is_requeued(root):
        return RunStart(path)
    models = [folder for entry in _writers(trainer) for folder in entry.written(trainer)]
    if (found or models) and not overwrite and not is_trial(trainer):
        ways = ["give another folder", "start anew with --overwrite, which replaces what is there"]
        if found:
            ways.insert(0, "go on from it with --ckpt_path last")
        held = ", ".join(str(entry) for entry in (*found[-1:], *models))
        problems.add(
            f"trainer.default_root_dir: got {root}, which holds an earlier run ({held}); expected a folder without "
            f"one; {', or '.join([', '.join(ways[:-1]), ways[-1]])}"
        )
    message = ""
    if given == LAST and path is None:
        others = similar_runs(root) if named_by_configs else []
        message = f"no checkpoint in {root}: training starts at step 0" + _elsewhere(others)
    return RunStart(path, message, () if is_trial(trainer) else found)


def evaluation_start(given: str | None, trainer: L.Trainer, *, named_by_configs: bool, problems: Problems) -> RunStart:
    """Return what `validate`, `test` and `predict` load: by default the run's own last checkpoint.

    Args:
        given: `ckpt_path` of the config: a file, `last`, `untrained`, or None, which means `last`.
        trainer: trainer of the run.
        named_by_configs: whether the run's folder was named after its configs.
        problems: collector of the messages.
    """
    root = Path(trainer.default_root_dir)
    if given == UNTRAINED:
        return RunStart(None, "model before training, as ckpt_path is `untrained`")
    if given not in (None, LAST):
        _check(Path(given), problems)
        return RunStart(Path(given))
    path = last_checkpoint(trainer) or next(iter(sorted(root.glob("hpc_ckpt_*.ckpt"), reverse=True)), None)
    if path is None:
        others = similar_runs(root) if named_by_configs else []
        problems.add(
            f"ckpt_path: got {given or 'none'}, and {root} holds no checkpoint of this run; expected one that "
            "`fairlit fit` has written; give its path, the run's folder (--trainer.default_root_dir), or `untrained` "
            f"for the model before training{_elsewhere(others)}"
        )
        return RunStart(None)
    _check(path, problems)
    return RunStart(path, f"checkpoint {path}, the last of this run")


def earlier_images(trainer: L.Trainer, *, overwrite: bool, problems: Problems) -> list[Path]:
    """Return the images of an earlier `predict` and their list; note that they would be replaced, unless they may be.

    Args:
        trainer: trainer of the run.
        overwrite: whether they may be replaced.
        problems: collector of the messages.
    """
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    folders = [entry.images_folder(trainer) for entry in callbacks if isinstance(entry, ImageWriter)]
    found: list[Path] = []
    for folder in folders:
        if is_trial(trainer) or not (folder / MANIFEST).is_file():
            continue
        files = [folder / entry.file for entry in read_manifest(folder)[0]]
        found += [file for file in files if file.resolve().is_relative_to(folder.resolve())]
        found.append(folder / MANIFEST)
        if not overwrite:
            problems.add(
                f"trainer.default_root_dir: got {trainer.default_root_dir}, which holds images of an earlier predict "
                f"({folder}); expected a folder without; give another folder, or replace them with --overwrite"
            )
    return found


class RemoveEarlier(L.Callback):
    """Removes files of an earlier run when training or predicting starts, so that nothing takes them for new ones.

    Args:
        paths: files to remove.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remove the files."""
        self._remove(trainer)

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remove the files."""
        self._remove(trainer)

    def _remove(self, trainer: L.Trainer) -> None:
        if trainer.is_global_zero and self.paths:
            for path in self.paths:
                path.unlink(missing_ok=True)
            more = f" and {len(self.paths) - 1} more files" if self.paths[1:] else ""
            log.info("removed  %s%s, of an earlier run", self.paths[-1], more)
        trainer.strategy.barrier()  # others may write files of the same names


def similar_runs(root: Path) -> list[Path]:
    """Return runs beside a folder whose name has one of the same configs in it and which hold a checkpoint.

    Args:
        root: folder named after configs, joined by underscores.
    """
    if not root.parent.is_dir():
        return []
    words = set(root.name.split("_"))
    return sorted(
        folder
        for folder in root.parent.iterdir()
        if folder != root and words & set(folder.name.split("_")) and any(folder.glob("checkpoints/*.ckpt"))
    )


def _elsewhere(runs: Sequence[Path]) -> str:
    if not runs:
        return ""
    return f" (the folder is named after the configs, in their order; there are {', '.join(map(str, runs))})"


def _writers(trainer: L.Trainer) -> list[WritesModel]:
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    return [entry for entry in callbacks if isinstance(entry, WritesModel)]


def _is_requeued(root: Path) -> bool:
    """Whether Lightning goes on by itself, from what it saved when SLURM announced the end of the job."""
    return SLURMEnvironment.detect() and any(root.glob("hpc_ckpt_*.ckpt"))


def _check(path: Path, problems: Problems) -> None:
    try:
        check_checkpoint(os.fspath(path))
    except (ConfigurationError, CheckpointError) as error:
        problems.add(str(error))
