from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fairlit.callbacks.evaluation.image_logging import log_picture

RED = Image.new("RGB", (4, 3), (255, 0, 0))


class _Logger(Logger):
    """Keeps what it is given; `experiment` is what stands behind it."""

    def __init__(self, experiment: Any = None, run: str | None = None) -> None:
        super().__init__()
        self.experiment, self.run_id = experiment, run

    name = version = "own"

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None: ...

    def log_hyperparams(self, params: Any) -> None: ...


class _TakesImages(_Logger):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, int, int | None]] = []

    def log_image(self, key: str, images: list[Any], step: int | None = None) -> None:
        self.seen.append((key, len(images), step))


class _Experiment:
    def __init__(self) -> None:
        self.seen: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def log_image(self, *arguments: Any, **settings: Any) -> None:
        self.seen.append((arguments, settings))


def test_tensorboard_shows_the_picture(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, name="", version="")
    log_picture([logger], "validation/before_after", RED, step=3)
    logger.experiment.flush()
    events = EventAccumulator(str(tmp_path)).Reload()
    [event] = events.Images("validation/before_after")
    assert (event.step, event.width, event.height) == (3, 4, 3)


def test_every_logger_with_the_ability_gets_it(tmp_path: Path) -> None:
    own, comet, mlflow = _TakesImages(), _Experiment(), _Experiment()
    loggers = [own, _Logger(comet), _Logger(mlflow, "run 7"), CSVLogger(tmp_path), _Logger(torch.zeros(1))]
    log_picture(loggers, "test/before_after", RED, step=8)
    assert own.seen == [("test/before_after", 1, 8)]
    assert comet.seen == [((RED,), {"name": "test/before_after", "step": 8})]
    assert mlflow.seen == [(("run 7", RED, "test/before_after_000008.png"), {})]
