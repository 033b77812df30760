"""The command line: ``fairlit fit | validate | test | predict``."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Any

import diffusers
import lightning as L
import transformers
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from typing_extensions import override

from fairlit.callbacks.checkpoint_io import AtomicCheckpointIO, check_checkpoint
from fairlit.errors import FairlitError


class FairlitCLI(LightningCLI):
    """LightningCLI with fairlit's checkpoint format and early checks."""

    @override
    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        parser.set_defaults({"weights_only": True})
        if subcommand in ("validate", "test"):
            parser.set_defaults({"verbose": False})  # FaceEvaluation prints a table that one can read
        return parser

    @override
    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        settings = self._get(self.config_init, "trainer")
        given = settings.plugins or []
        kwargs["plugins"] = [*(given if isinstance(given, list) else [given]), AtomicCheckpointIO()]
        if settings.logger is None:  # everything of a run in its one folder: events, config, checkpoints, adaptors
            kwargs["logger"] = TensorBoardLogger(settings.default_root_dir or "runs", name="", version="")
        return super().instantiate_trainer(**kwargs)

    @override
    def before_instantiate_classes(self) -> None:
        """Looks at the checkpoint before anything else is built."""
        if path := self.config[self.config.subcommand].get("ckpt_path"):
            check_checkpoint(path)

    @override
    def _parse_ckpt_path(self) -> None:
        """Leaves the config as it was given: a checkpoint holds weights and progress, never settings."""


def main(args: list[str] | None = None) -> None:
    """Runs the command line.

    Args:
        args: what stands behind ``fairlit``; None: what the process was called with.

    Raises:
        SystemExit: with status 2 after a message, where the input is wrong.
    """
    _quieten()
    try:
        FairlitCLI(
            L.LightningModule,
            L.LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            save_config_kwargs={"overwrite": True},
            args=args,
        )
    except (FairlitError, ValueError) as error:
        message = _own_error(error)
        if message is None:
            raise
        print(f"fairlit: {message}", file=sys.stderr)
        raise SystemExit(2) from error


def _quieten() -> None:
    """Keeps the terminal for what a user can use: no bar for each loaded file, no advertisement, no false alarm."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    rank_zero = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    rank_zero.addFilter(lambda record: "litlogger" not in record.getMessage())
    for message in (
        "Found .* in eval mode at the start of training",  # on purpose: see FairFinetuner.train
        "Your `IterableDataset` has `__len__` defined",  # nothing here has worker processes
        "The '.*dataloader' does not have many workers",  # prompts are strings
        ".*isinstance\\(treespec, LeafSpec\\).* is deprecated",
    ):
        warnings.filterwarnings("ignore", message=message)


def _own_error(error: BaseException | None) -> FairlitError | None:
    """The fairlit error that `error` is or was raised from: jsonargparse wraps what constructors raise."""
    while error is not None and not isinstance(error, FairlitError):
        error = error.__cause__
    return error


if __name__ == "__main__":
    main()
