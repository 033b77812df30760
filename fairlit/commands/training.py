"""The commands that train and evaluate with Lightning: ``fairlit fit | validate | test | predict``."""

from __future__ import annotations

import logging
import sys
import warnings
from argparse import SUPPRESS
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
from jsonargparse import Namespace, set_parsing_settings
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from typing_extensions import override

from fairlit.callbacks.checkpoint_io import AtomicCheckpointIO, check_checkpoint
from fairlit.commands.config_files import CONFIG_HELP, ConfigFile, locate_shipped
from fairlit.commands.training_names import RenamingLightningParser
from fairlit.data import FaceDataModule, PromptDataModule
from fairlit.errors import FairlitError, Problems, own_error
from fairlit.io.class_paths import import_from_current_folder
from fairlit.losses import AlignmentLoss, FaceRealismLoss, ImagePreservationLoss
from fairlit.terminal import quieten_libraries
from fairlit.training import AttributeClassifierTrainer, FairFinetuner
from fairlit.training.planning.dry_run import check_data, describe_other, dry_run_finetuning


class FairlitCLI(LightningCLI):
    """LightningCLI with fairlit's checkpoint format and early checks."""

    @override
    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        kwargs.setdefault("dump_header", [f"lightning.pytorch=={L.__version__}"])
        parser = self.parser_class(**kwargs)
        parser.add_argument("-c", "--config", action=ConfigFile, help=CONFIG_HELP)
        return parser

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        super().parse_arguments(parser, args)
        self.config = locate_shipped(self.config)

    @override
    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        parser.set_defaults({"weights_only": True})
        if subcommand == "fit":
            explanation = "Check everything, say what would be trained and in how much memory, and stop."
            # No default: a config that was printed or saved is for the other commands too.
            parser.add_argument("--dry_run", action="store_true", default=SUPPRESS, help=explanation)
        if subcommand in ("validate", "test"):
            parser.set_defaults({"verbose": False})  # FaceEvaluation prints a table that one can read
        if subcommand == "predict":
            parser.set_defaults({"return_predictions": False})  # ImageWriter keeps them on disk, nobody in memory
        return parser

    @override
    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        settings = self._get(self.config_init, "trainer")
        given = settings.plugins or []
        kwargs["plugins"] = [*(given if isinstance(given, list) else [given]), AtomicCheckpointIO()]
        if settings.logger is None:  # everything of a run in its one folder: events, config, checkpoints, adaptors
            kwargs["logger"] = TensorBoardLogger(settings.default_root_dir, name="", version="")
        return super().instantiate_trainer(**kwargs)

    @override
    def before_instantiate_classes(self) -> None:
        """Looks at all that the config names before anything is built, so that all problems come together."""
        self._name_run()
        with Problems("config") as problems:
            path = self._get(self.config, "ckpt_path")
            if path and path != "last":  # Lightning's word for the newest in the run's folder
                with _collecting(problems):
                    check_checkpoint(path)
            model, data = self._try("model", problems), self._try("data", problems)
            if isinstance(model, FairFinetuner):
                model.check(data if isinstance(data, PromptDataModule) else None, problems)
            if isinstance(model, AttributeClassifierTrainer):
                model.check(data if isinstance(data, FaceDataModule) else None, problems)
            if isinstance(data, FaceDataModule):
                data.check(problems, str(self.subcommand))
            if dry := self._get(self.config, "dry_run"):
                report = self._dry_run(model, data, problems)
        if dry:
            print(f"Nothing is wrong with this config. `fairlit fit` would train:\n\n{report}")
            raise SystemExit(0)

    def _name_run(self) -> None:
        """Gives a run that names no folder one named after its configs, so that no two share one by accident."""
        settings = self._get(self.config, "trainer")
        if settings.default_root_dir is None:
            configs = [Path(str(path)).stem for path in self._get(self.config, "config") or []]
            settings.default_root_dir = str(Path("runs", "_".join(configs)))

    def _dry_run(self, model: Any, data: Any, problems: Problems) -> str:
        """Checks what else can be checked without loading weights; gives a description of the run."""
        trainer = self._try_trainer(problems)
        if isinstance(data, L.LightningDataModule):
            check_data(data, problems)
        if isinstance(model, FairFinetuner) and isinstance(data, PromptDataModule):
            return dry_run_finetuning(model, data, trainer, problems=problems)
        return describe_other(model, trainer, problems) if isinstance(model, L.LightningModule) else ""

    def _try_trainer(self, problems: Problems) -> L.Trainer | None:
        """The trainer without the rest of the config, or None where it cannot be made."""
        part = Namespace(trainer=self._get(self.config, "trainer"))
        try:
            built = self._parser(self.subcommand).instantiate(part)
            self.config_init = Namespace({self.subcommand: built})
            return self.instantiate_trainer()
        except (MisconfigurationException, FairlitError, ValueError, RuntimeError, TypeError) as error:
            problems.add(f"trainer: {own_error(error) or error}")
            return None

    def _try(self, key: str, problems: Problems) -> Any:
        """One part of the config on its own: its object, or None where it cannot be made."""
        part = Namespace({key: self._get(self.config, key)})
        with _collecting(problems):
            return self._parser(self.subcommand).instantiate(part)[key]

    @override
    def instantiate_classes(self) -> None:
        super().instantiate_classes()
        if isinstance(self.model, FairFinetuner):
            self._dump_config()
            self.model.run_config = self.config_dump

    @override
    def _parse_ckpt_path(self) -> None:
        """Leaves the config as it was given: a checkpoint holds weights and progress, never settings."""


def run(args: list[str] | None) -> None:
    """Runs ``fairlit ARGS`` where they begin with fit, validate, test or predict.

    Args:
        args: None: what the process was called with.
    """
    _open(args)


def build(args: list[str]) -> FairlitCLI:
    """What ``fairlit fit ARGS`` would run, checked and built, but not run.

    Args:
        args: configs and settings, as ``fit`` takes them.

    Returns:
        Its `trainer`, `model` and `datamodule` are ready for ``trainer.fit``.

    Raises:
        ConfigurationError: the config is wrong.
    """
    return _open(args, run=False)


def _open(args: list[str] | None, **kwargs: Any) -> FairlitCLI:
    quieten_libraries()
    _quieten_lightning()
    import_from_current_folder()
    # Losses are dataclasses, for which jsonargparse takes no class path of somebody's own by itself.
    set_parsing_settings(subclasses_enabled=[AlignmentLoss, FaceRealismLoss, ImagePreservationLoss])
    return FairlitCLI(
        L.LightningModule,
        L.LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        auto_configure_optimizers=False,
        seed_everything_default=0,
        save_config_kwargs={"overwrite": True},
        args=sys.argv[1:] if args is None else args,
        parser_class=RenamingLightningParser,
        **kwargs,
    )


def _quieten_lightning() -> None:
    """Keeps the terminal for what a user can use: no advertisement, no false alarm."""
    rank_zero = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    rank_zero.addFilter(lambda record: "litlogger" not in record.getMessage())
    for message in (
        "Found .* in eval mode at the start of training",  # on purpose: see FairFinetuner.train
        "Your `IterableDataset` has `__len__` defined",  # nothing here has worker processes
        "The '.*dataloader' does not have many workers",  # prompts are strings
        "It is recommended to use `self.log",  # what is logged has been gathered from all processes before
        "LightningCLI's args parameter",  # `main(args)` is for Python
        ".*isinstance\\(treespec, LeafSpec\\).* is deprecated",
    ):
        warnings.filterwarnings("ignore", message=message)


@contextmanager
def _collecting(problems: Problems) -> Iterator[None]:
    """Notes an error of fairlit, wrapped or not, and goes on after the block."""
    try:
        yield
    except (FairlitError, ValueError) as error:
        message = own_error(error)
        if message is None:
            raise
        problems.add(str(message))
