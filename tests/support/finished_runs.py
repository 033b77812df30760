"""Runs of `fairlit fit` that several tests start from or compare with, each trained once a process."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import yaml

from fairlit.cli import main


class Finished(NamedTuple):
    """A run as it was left, and the folder that it was trained in."""

    kept: Path
    trained_in: Path


class FinishedRuns:
    """Fits configs; one whose settings have been fitted before, but for the folder of the run, is copied.

    Args:
        folder: where what was trained is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.finished: dict[str, Finished] = {}

    def fit(self, config: Path) -> None:
        """Leaves what ``fairlit fit --config CONFIG`` leaves in the config's run folder, which must be new."""
        settings = yaml.safe_load(config.read_text())
        run = Path(settings["trainer"].pop("default_root_dir"))
        key = json.dumps(settings, sort_keys=True)
        if key in self.finished:
            self._copy(self.finished[key], run)
            return
        main(["fit", "--config", str(config)])
        self.finished[key] = Finished(self.folder / str(len(self.finished)), run)
        shutil.copytree(run, self.finished[key].kept)

    def _copy(self, finished: Finished, run: Path) -> None:
        shutil.copytree(finished.kept, run)
        for file in run.rglob("*.yaml"):  # which say where the run is
            file.write_text(file.read_text().replace(str(finished.trained_in), str(run)))
