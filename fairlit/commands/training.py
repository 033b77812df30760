"""The commands that train and evaluate with Lightning: ``fairlit fit | validate | test | predict``."""

from __future__ import annotations

import logging
import sys
import warnings
from argparse import SUPPRESS
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
from jsonargparse import Namespace, set_parsing_settings
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from typing_extensions import override

from fairlit.callbacks.checkpoint_io import AtomicCheckpointIO
from fairlit.callbacks.orderly_stop import OrderlyStop
from fairlit.callbacks.resumed_settings import ResumedSettings
from fairlit.commands.config_files import CONFIG_HELP, ConfigFile, locate_shipped
from fairlit.commands.run_start import RemoveEarlier, RunStart, earlier_images, evaluation_start, training_start
from fairlit.commands.separate_settings import build_or_note
from fairlit.commands.training_names import RenamingLightningParser
from fairlit.data import FaceDataModule, PromptDataModule
from fairlit.errors import CheckpointError, FairlitError, Problems, own_error
from fairlit.io.class_paths import import_from_current_folder
from fairlit.io.output_places import check_writable
from fairlit.losses import AlignmentLoss, FaceRealismLoss, ImagePreservationLoss
from fairlit.terminal import quieten_libraries
from fairlit.training import AttributeClassifierTrainer, FairFinetuner
from fairlit.training.planning.dry_run import check_data, describe_other, dry_run_finetuning

log = logging.getLogger(__name__)


class FairlitCLI(LightningCLI):
    """LightningCLI with fairlit's checkpoint format and early checks.

    Args:
        command: the one command whose parser is built; those of all four take a second to build.
        arguments: as LightningCLI takes them.
    """

    def __init__(self, command: str, **arguments: Any) -> None:
        self._command = command
        super().__init__(**arguments)

    @override
    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # Lightning asks its instance
        every = LightningCLI.subcommands()
        return {self._command: every[self._command]}

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
        if subcommand in ("fit", "predict"):
            kept = "an earlier run" if subcommand == "fit" else "images of an earlier one"
            explanation = f"Start anew in a folder that holds {kept}, whose files are replaced."
            parser.add_argument("--overwrite", action="store_true", default=SUPPRESS, help=explanation)
        if subcommand in ("validate", "test"):
            parser.set_defaults({"verbose": False})  # FaceEvaluation prints a table that one can read
        if subcommand == "predict":
            parser.set_defaults({"return_predictions": False})  # ImageWriter keeps them on disk, nobody in memory
        return parser

    @override
    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        if self._built_trainer is not None:
            return self._built_trainer
        settings = self._get(self.config_init, "trainer")
        given = settings.plugins or []
        kwargs["plugins"] = [*(given if isinstance(given, list) else [given]), self._files]
        if settings.logger is None:  # everything of a run in its one folder: events, config, checkpoints, adaptors
            kwargs["logger"] = TensorBoardLogger(settings.default_root_dir, name="", version="")
        kwargs["callbacks"] = [self.stop, *self._callbacks(settings), ResumedSettings()]
        return super().instantiate_trainer(**kwargs)

    def _callbacks(self, settings: Namespace) -> list[L.Callback]:
        """The config's callbacks, but those that other settings of the trainer switch off."""
        given = settings.callbacks or []
        off: list[type[L.Callback]] = []
        off += [ProgressBar] if settings.enable_progress_bar is False else []
        quick = (
            settings.fast_dev_run and self.subcommand == "fit"
        )  # whose last checkpoint Lightning 2.6 saves all the same
        off += [Checkpoint] if settings.enable_checkpointing is False or quick else []
        return [entry for entry in (given if isinstance(given, list) else [given]) if not isinstance(entry, tuple(off))]

    @override
    def before_instantiate_classes(self) -> None:
        """Looks at all that the config names before anything is built, so that all problems come together."""
        self.stop, self._files, self._built_trainer = OrderlyStop(), AtomicCheckpointIO(), None
        self._start = RunStart(None)
        if self.subcommand != "fit":  # config.yaml says how the run was trained
            self.save_config_kwargs = self.save_config_kwargs | {"config_filename": f"config_{self.subcommand}.yaml"}
        settings = self.config.get(str(self.subcommand), self.config)
        overwrite = bool(settings.pop("overwrite", False))  # for this once: the run's config.yaml is used again
        named_by_configs = self._name_run()
        with Problems("config") as problems:
            model, data = self._try("model", problems), self._try("data", problems)
            if isinstance(model, FairFinetuner):
                model.check(data if isinstance(data, PromptDataModule) else None, problems)
            if isinstance(model, AttributeClassifierTrainer):
                model.check(data if isinstance(data, FaceDataModule) else None, problems)
            if isinstance(data, FaceDataModule):
                data.check(problems, str(self.subcommand))
            self._built_trainer = trainer = self._try_trainer(problems)
            if trainer is not None and self.subcommand is not None:
                check_writable(trainer.default_root_dir, "trainer.default_root_dir", problems)
                given = settings.ckpt_path
                if self.subcommand == "fit":
                    self._start = training_start(
                        given, trainer, overwrite=overwrite, named_by_configs=named_by_configs, problems=problems
                    )
                else:
                    self._start = evaluation_start(given, trainer, named_by_configs=named_by_configs, problems=problems)
                if self.subcommand == "predict":
                    removed = earlier_images(trainer, overwrite=overwrite, problems=problems)
                    self._start = replace(self._start, removed=removed)
            if dry := self._get(self.config, "dry_run"):
                report = self._dry_run(model, data, problems)
        if dry:
            print(f"Nothing is wrong with this config. `fairlit fit` would train:\n\n{report}")
            raise SystemExit(0)

    def _name_run(self) -> bool:
        """Gives a run that names no folder one named after its configs, so that no two share one by accident."""
        settings = self._get(self.config, "trainer")
        unnamed = settings.default_root_dir is None
        if unnamed:
            configs = [Path(str(path)).stem for path in self._get(self.config, "config") or []]
            settings.default_root_dir = str(Path("runs", "_".join(configs)))
        return unnamed

    @override
    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        path = self._start.checkpoint
        return super()._prepare_subcommand_kwargs(subcommand) | {"ckpt_path": None if path is None else str(path)}

    @override
    def _run_subcommand(self, subcommand: str) -> None:
        if self._start.message and self.trainer.is_global_zero:
            log.info(self._start.message)
        if self._start.removed:
            callbacks: list[L.Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
            callbacks.insert(0, RemoveEarlier(self._start.removed))
        try:
            with self.stop.listening():
                super()._run_subcommand(subcommand)
        except (KeyError, IndexError, AttributeError, TypeError, ValueError) as error:
            if not self._files.loaded or self.stop.running or own_error(error) is not None:
                raise
            raise CheckpointError(
                f"ckpt_path: {self._start.checkpoint} cannot be gone on from ({type(error).__name__}: {error}); it was "
                "written by another program or with other settings; give one that `fairlit fit` wrote with this config"
            ) from error

    def _dry_run(self, model: Any, data: Any, problems: Problems) -> str:
        """Checks what else can be checked without loading weights; gives a description of the run."""
        trainer = self._built_trainer
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
            self.config_init = built if self.subcommand is None else Namespace({self.subcommand: built})
            return self.instantiate_trainer()
        except (MisconfigurationException, FairlitError, ImportError, ValueError, RuntimeError, TypeError) as error:
            problems.add(f"trainer: {own_error(error) or error}")
            return None

    def _try(self, key: str, problems: Problems) -> Any:
        """One part of the config on its own: its object, or None where it cannot be made."""
        parser = self._parser(self.subcommand)
        return build_or_note(
            self._get(self.config, key), lambda spec: parser.instantiate(Namespace({key: spec}))[key], problems
        )

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
    return _open(args, run=False, save_config_callback=None)  # its training is the caller's, not a run of that folder


def _open(args: list[str] | None, **kwargs: Any) -> FairlitCLI:
    quieten_libraries()
    _quieten_lightning()
    import_from_current_folder()
    # Losses are dataclasses, for which jsonargparse takes no class path of somebody's own by itself.
    set_parsing_settings(subclasses_enabled=[AlignmentLoss, FaceRealismLoss, ImagePreservationLoss])
    given = sys.argv[1:] if args is None else args
    return FairlitCLI(
        given[0] if kwargs.get("run", True) else "fit",
        model_class=L.LightningModule,
        datamodule_class=L.LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        auto_configure_optimizers=False,
        seed_everything_default=0,
        save_config_kwargs={"overwrite": True},
        args=given,
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
