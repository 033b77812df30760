"""Ends a run that is told to stop, by SIGTERM or Ctrl-C, such that it can go on."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn

from fairlit.training import FairFinetuner
from fairlit.training.distributed import ranks
from fairlit.training.run_checkpoints import is_trial, save_last_checkpoint

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class RunStopped(SystemExit):
    """A signal has ended the run; the exit status is 128 and the signal's number.

    Args:
        number: number of the signal.
        between_steps: whether the model is as a step of training has left it, so that it may be saved.
    """

    def __init__(self, number: int, *, between_steps: bool) -> None:
        super().__init__(128 + number)
        self.signal, self.between_steps = signal.Signals(number), between_steps


class OrderlyStop(L.Callback):
    """Stops training after the step that runs, and an evaluation before the model's next evaluation.

    Training saves a checkpoint first. `AdaptorCheckpoint` saves the adaptor. A second Ctrl-C stops at once.

    Attributes:
        running: whether training or an evaluation has begun.
    """

    def __init__(self) -> None:
        self._listening = False
        self.running = False
        self._received: int | None = None
        self._trainer: L.Trainer | None = None
        self._hooks: list[Any] = []

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to the signals while the block runs.

        Raises:
            RunStopped: a signal came, and the run has been ended.
        """
        if threading.current_thread() is not threading.main_thread():  # the only one that may listen
            yield
            return
        before = {number: signal.getsignal(number) for number in SIGNALS}
        self._listening = True
        self._listen()
        try:
            yield
            if self._received is not None:  # when all was done, and nobody looked any more
                raise RunStopped(self._received, between_steps=False)
        finally:
            self._listening = False
            for number, handler in before.items():
                signal.signal(number, handler)

    # -------------------------------------------------------------------- hooks

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the place of Lightning's handlers."""
        self._begin(trainer)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop on all ranks together."""
        [received] = ranks.any_rank([self._received is not None], pl_module.device)
        if received:
            raise RunStopped(self._received or signal.SIGTERM, between_steps=True)

    def on_sanity_check_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look out for signals before each evaluation of the model."""
        self._watch(trainer, pl_module)

    def on_sanity_check_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the model alone."""
        self._unwatch()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look out for signals before each evaluation of the model."""
        self._watch(trainer, pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the model alone."""
        self._unwatch()

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look out for signals before each evaluation of the model."""
        self._watch(trainer, pl_module)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the model alone."""
        self._unwatch()

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look out for signals before each evaluation of the model."""
        self._watch(trainer, pl_module)

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the model alone."""
        self._unwatch()

    def on_validation_batch_end(self, *_: Any) -> None:
        """Stop modules that are not watched."""
        self._stop_evaluation()

    def on_test_batch_end(self, *_: Any) -> None:
        """Stop modules that are not watched."""
        self._stop_evaluation()

    def on_predict_batch_end(self, *_: Any) -> None:
        """Stop modules that are not watched."""
        self._stop_evaluation()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Save a checkpoint of training, and say how to go on."""
        self._unwatch()
        if not isinstance(exception, RunStopped):
            return
        message = "run the same command again"
        if trainer.state.fn == TrainerFn.FITTING:
            message = "nothing was saved since the last checkpoint; go on from it with --ckpt_path last"
            saves = trainer.checkpoint_callback is not None and not is_trial(trainer)
            if exception.between_steps and trainer.global_step and saves:
                if not trainer.training:
                    # Lightning (2.6) would go on in the middle of a validation, whose first prompts nobody has kept.
                    trainer.fit_loop.epoch_loop.val_loop.batch_progress.reset()
                path = save_last_checkpoint(trainer)
                message = f"{path} is saved; the same command goes on from it with --ckpt_path last"
            elif not trainer.global_step:
                message = "no step has been trained; run the same command again"
        if trainer.is_global_zero:
            step = f" at step {trainer.global_step}" if trainer.state.fn == TrainerFn.FITTING else ""
            print(f"fairlit: stopped by {exception.signal.name}{step}: {message}", file=sys.stderr, flush=True)

    # --------------------------------------------------------------- machinery

    def _listen(self) -> None:
        if self._listening:
            for number in SIGNALS:
                signal.signal(number, self._handle)

    def _begin(self, trainer: L.Trainer) -> None:
        self._trainer, self.running = trainer, True
        # In front of it Lightning (2.6) has put its own, which stops one rank alone and broadcasts inside the handler.
        self._listen()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        impatient = self._received == signal.SIGINT and number == signal.SIGINT
        if impatient or not self.running:
            raise RunStopped(number, between_steps=False)
        if self._received is not None:
            return
        self._received = number
        os.write(2, b"\nfairlit: stopping (Ctrl-C again: at once)\n" if number == signal.SIGINT else b"")
        if number == signal.SIGTERM and self._trainer is not None:
            launcher: Any = self._trainer.strategy.launcher
            if launcher is not None:  # the processes that this one has started
                launcher.kill(number)

    def _watch(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._begin(trainer)
        if isinstance(module, FairFinetuner):
            # The denoiser is called inside of every change of weights for a variant, never while one is being made.
            self._hooks.append(module.backbone.register_forward_pre_hook(lambda *_: self._stop_evaluation()))

    def _unwatch(self) -> None:
        while self._hooks:
            self._hooks.pop().remove()

    def _stop_evaluation(self) -> None:
        if self._received is not None:
            raise RunStopped(self._received, between_steps=True)
