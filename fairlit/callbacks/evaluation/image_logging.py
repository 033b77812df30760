"""Pictures for every logger that takes pictures, whatever its class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from lightning.pytorch.loggers import Logger
from PIL import Image
from torch import Tensor

from fairlit.pictures.comparison import picture_tensor


@runtime_checkable
class ImageLogger(Protocol):
    """A logger that takes pictures itself, as Lightning's WandbLogger does."""

    def log_image(self, key: str, images: list[Any], step: int | None = None) -> None:
        """Log pictures under a name."""


@runtime_checkable
class ImageWriter(Protocol):
    """What stands behind a logger and takes pictures as tensors, as TensorBoard's SummaryWriter does."""

    def add_image(self, tag: str, img_tensor: Tensor, global_step: int | None = None) -> None:
        """Log a picture [3, H, W] under a name."""


@runtime_checkable
class ImageExperiment(Protocol):
    """What stands behind a logger and takes one picture, as Comet's Experiment and MLflow's client do."""

    def log_image(self, *arguments: Any, **settings: Any) -> Any:
        """Log a picture."""


def log_picture(loggers: Sequence[Logger], tag: str, picture: Image.Image, *, step: int) -> None:
    """Give a picture to every logger that takes pictures.

    Args:
        loggers: loggers of the trainer.
        tag: name of the picture.
        picture: the picture.
        step: step of training.
    """
    for logger in loggers:
        if isinstance(logger, ImageLogger):
            logger.log_image(tag, [picture], step=step)
            continue
        experiment = getattr(logger, "experiment", None)
        if isinstance(experiment, ImageWriter):
            experiment.add_image(tag, picture_tensor(picture), step)
        elif isinstance(experiment, ImageExperiment):
            run = getattr(logger, "run_id", None)  # MLflow's client serves many runs
            if run is None:
                experiment.log_image(picture, name=tag, step=step)
            else:
                experiment.log_image(run, picture, f"{tag}_{step:06d}.png")
