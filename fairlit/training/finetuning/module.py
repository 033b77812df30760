"""What a finetuning run consists of, without the step: settings, checks, models, checkpoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any, Self

import lightning as L
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fairlit.adaptors import Adaptor, AdaptorEMA
from fairlit.data import PromptBatch, PromptDataModule
from fairlit.diffusion import Backbone
from fairlit.diffusion.acceleration import Acceleration, accelerate
from fairlit.diffusion.schedulers import check_sampling
from fairlit.diffusion.settings import check_image_size, family_here
from fairlit.diffusion.text_length import open_tokenizer, warn_of_cut_texts
from fairlit.errors import Problems
from fairlit.faces import FaceClassifier
from fairlit.faces.detection import FaceDetection, FaceSelection, check_face_selection
from fairlit.losses import AlignmentLoss, FaceRealismLoss, ImagePreservationLoss
from fairlit.training.distributed.sharding import shard_frozen
from fairlit.training.finetuning.chain_gradient import ChainGradient
from fairlit.training.finetuning.checkpoint import restore_training_state, training_state
from fairlit.training.finetuning.evaluation import Evaluator
from fairlit.training.finetuning.frozen_models import FrozenModels
from fairlit.training.finetuning.objective import Objective
from fairlit.training.finetuning.reference_images import ReferenceSampler
from fairlit.training.finetuning.run_checks import check_optimizer, check_run
from fairlit.training.finetuning.sampler import Sampler
from fairlit.training.finetuning.settings import Gradient, Models, ReferenceImages, Replay, Sampling
from fairlit.training.finetuning.step_draws import subsets_seed
from fairlit.training.finetuning.step_guard import StepGuard
from fairlit.training.finetuning.variants import Variants
from fairlit.training.profiling.timing import PhaseTimer

_DRAWN = ("min_steps", "max_steps", "min_guidance_scale", "max_guidance_scale")  # anew in each iteration

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
SchedulerFactory = Callable[[Optimizer], LRScheduler]


class FinetuningModule(L.LightningModule, ABC):
    """Settings, models and checkpoints of a finetuning run; `FairFinetuner` is the step.

    A subclass replaces a part by overriding its hook: `configure_models` (what is loaded), `configure_objective` (the
    losses), `configure_references` (what images are compared with), `variants` (what is evaluated)::

        class OwnModels(FrozenModels):
            def load_detector(self):
                return OwnDetector()

        class OwnFinetuner(FairFinetuner):
            def configure_models(self):
                return OwnModels(self.models, self.detection, self.sampling)

    A config names it by its class path, also where it is in a file in the current folder.

    Args:
        models: where the models come from.
        adaptor: trained parameters.
        detection: settings of face detection.
        faces: faces of an image that count: the `largest`, as in the published method, or `all`.
        sampling: how images are generated.
        gradient: how the gradient goes through the sampling chain.
        replay: how the model's evaluations are repeated with gradient.
        reference_images: how the images of the original model for the same noise are made.
        acceleration: how the models run.
        alignment: loss that moves the distribution.
        preservation: loss that keeps the rest of the picture.
        realism: loss that keeps faces real.
        optimizer: optimiser of the adaptor's parameters.
        lr_scheduler: learning rate schedule, advanced after each optimiser step; null: constant.
        ema_decay: decay of the moving average of the adaptor; null: no average.
        max_skipped_steps: number of steps in a row without a finite gradient after which the run stops.
        seed: seed of the numbers of solver steps and of the transport draws.
    """

    def __init__(
        self,
        models: Models,
        adaptor: Adaptor,
        detection: FaceDetection = FaceDetection(),
        *,
        faces: FaceSelection = "largest",
        sampling: Sampling = Sampling(),
        gradient: Gradient = Gradient(),
        replay: Replay = Replay(),
        reference_images: ReferenceImages = ReferenceImages(),
        acceleration: Acceleration = Acceleration(),
        alignment: AlignmentLoss = AlignmentLoss(),
        preservation: ImagePreservationLoss = ImagePreservationLoss(),
        realism: FaceRealismLoss = FaceRealismLoss(),
        optimizer: OptimizerFactory = AdamW,
        lr_scheduler: SchedulerFactory | None = None,
        ema_decay: float | None = 0.996,
        max_skipped_steps: int = 10,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.models, self.sampling, self.gradient = models, sampling, gradient
        self.detection, self.faces = detection, faces
        self.replay, self.reference_images, self.acceleration = replay, reference_images, acceleration
        self.alignment, self.preservation, self.realism = alignment, preservation, realism
        self.adaptor = adaptor
        self.make_optimizer, self.make_scheduler = optimizer, lr_scheduler
        self.ema_decay = ema_decay
        self.seed = seed
        self.timer = PhaseTimer()
        self.guard = StepGuard(max_skipped_steps)
        self.run_config: dict[str, Any] | None = None
        self.ema: AdaptorEMA | None = None
        self.frozen_models: FrozenModels | None = None
        self.strict_loading = False  # checkpoints hold what is trainable; what they must hold is checked below
        self._gradients: dict[str, Tensor] = {}  # of a restored checkpoint, until training starts
        with Problems("model") as problems:
            check_face_selection(faces, problems)
            if ema_decay is not None and not 0 <= ema_decay < 1:
                problems.add(f"ema_decay: got {ema_decay}; give 0 <= decay < 1, or null for no average")
            problems.at_least("max_skipped_steps", max_skipped_steps, 1)
            problems.at_least("seed", seed, 0)

    @abstractmethod
    def training_step(self, batch: PromptBatch, batch_idx: int) -> Tensor:
        """Return the loss of one prompt's images over all ranks, with its gradient."""

    # ------------------------------------------------------------------ set-up

    def check(self, data: PromptDataModule | None, problems: Problems) -> None:
        """Note what is wrong with the models, and where they do not fit the data, without loading any weights."""
        before = len(problems.messages)
        self.models.check(problems)
        if len(problems.messages) == before:
            if (family := family_here(self.models.backbone)) is not None:
                self.adaptor.check_family(family, problems)
                check_image_size(self.sampling.image_size, problems, family)
            check_sampling(
                self.models.backbone,
                self.sampling.solver,
                self.sampling.all_steps,
                problems=problems,
                subject="backbone",
                weights=self.gradient.weights,
            )
        if data is None:
            return
        self.models.check_targets(data.targets(), problems)
        if self.alignment.correct_errors:
            self.models.check_validated(data.targets(), problems)
        if self.sampling.evaluation_strengths and not self.adaptor.has_strength:
            problems.add(
                f"sampling.evaluation_strengths: got {list(self.sampling.evaluation_strengths)} with "
                f"{type(self.adaptor).__name__}, which has no strength; expected none; leave them out"
            )
        for target in data.targets():
            self.alignment.check(target, problems)
            if self.preservation.weight > 0 and (self.models.clip or self.models.dino):
                self.preservation.check(target.classes, problems)

    def setup(self, stage: str) -> None:
        """Check models, targets and prompts against each other before any weights are loaded."""
        data = self._data()
        with Problems("config") as problems:
            self.check(data, problems)
            self.check_trainer(self.trainer, data, problems)
        if self.trainer.is_global_zero:
            self.give_warnings(data)

    def give_warnings(self, data: PromptDataModule) -> None:
        """Say which classifiers are often wrong, and which prompts are longer than what the text encoder reads."""
        self.models.warn_of_errors(data.targets())
        if (tokenizer := open_tokenizer(self.models.backbone)) is not None:
            warn_of_cut_texts(tokenizer, data.texts())

    def check_trainer(self, trainer: L.Trainer, data: PromptDataModule, problems: Problems) -> None:
        """Note where the trainer's settings do not fit those of this module and its data."""
        images = {str(split): count for split, count in data.images.items()}
        if data.naming.test_images:
            images["named test"] = data.naming.test_images
        check_run(trainer, images, self.sampling, gradient=self.gradient, replay=self.replay, problems=problems)
        if self.acceleration.compile and self.replay.keep not in ("auto", 0):
            problems.add(
                f"replay.keep: got {self.replay.keep} with acceleration.compile, which needs evaluations of one shape; "
                "expected 0 or auto; give 0, or compile false"
            )
        with torch.device("cpu"):
            check_optimizer(self.make_optimizer([nn.Parameter(torch.zeros(1))]), trainer, problems)

    def configure_model(self) -> None:
        """Load the models and attach the adaptor; Lightning calls it on every rank, possibly more than once."""
        if self.frozen_models is not None:
            return
        with torch.device("cpu"):  # Lightning makes the GPU the default device here, which loaders do not expect
            self.frozen_models = self.configure_models()
            self.adaptor.attach(self.backbone)
            accelerate(self.backbone, self.acceleration, sharded=self._shards())
            self.objective = self.configure_objective()
            self.sampler = Sampler(self.backbone, self.adaptor, sampling=self.sampling, gradient=self.gradient)
            self.references = self.configure_references()
        self.evaluator = Evaluator(self.frozen, self.sampler, self.objective, faces=self.faces)
        self.chain_gradient = ChainGradient(
            self.sampler,
            self.gradient,
            self.replay,
            fixed_shape=self.acceleration.compile,
            sharded=self._shards(),
            seed=subsets_seed(self.seed),
        )
        if self.ema_decay is not None:
            self.ema = AdaptorEMA(self.adaptor.parameters(), self.ema_decay)
        self.eval()
        self._remember_references()
        if self._shards():
            assert self.device_mesh is not None
            parts = (self.backbone.denoiser, *self.backbone.text_encoders.values())
            shard_frozen(parts, self.device_mesh, self.adaptor.parameters().values())

    def configure_models(self) -> FrozenModels:
        """Return the loaded models; the adaptor is attached to `backbone` afterwards."""
        return FrozenModels(self.models, self.detection, self.sampling)

    def configure_objective(self) -> Objective:
        """Return the losses as a function of final latents; the models are loaded by then."""
        frozen = self.frozen
        return Objective(
            decode=frozen.backbone.decode,
            classifier=frozen.classifier,
            encoders=dict(frozen.encoders.items()),
            embedder=frozen.embedder,
            bank=frozen.bank,
            alignment=self.alignment,
            preservation=self.preservation,
            realism=self.realism,
            faces=self.faces,
        )

    def configure_references(self) -> ReferenceSampler:
        """Return what samples a step's images beside their reference images; objective and sampler exist by then."""
        with_rollout = self.reference_images.with_rollout
        return ReferenceSampler(self.frozen, self.sampler, self.objective, with_rollout=with_rollout)

    @property
    def frozen(self) -> FrozenModels:
        """The loaded models."""
        assert self.frozen_models is not None, "configure_model has not run"
        return self.frozen_models

    @property
    def backbone(self) -> Backbone:
        """The model that is finetuned, with the adaptor attached."""
        return self.frozen.backbone

    @property
    def audit_classifier(self) -> FaceClassifier:
        """The classifier that judges validation and test."""
        return self.frozen.audit_classifier

    def _remember_references(self) -> None:
        """Keep descriptions of reference images; called before sharding, as the cache knows models by whole weights."""
        folder = self.reference_images.cache_folder()
        if self._trainer is None or folder is None:
            return
        sampling = {  # what differs between iterations is in the key of a description
            name: value
            for name, value in asdict(self.sampling).items()
            if not name.startswith("evaluation_") and name not in _DRAWN
        }
        detection: dict[str, object] = {  # under the names of fairlit 0.1.0, whose caches stay readable
            "min_face_size": self.detection.min_size,
            "enlarge": self.detection.scale,
            "min_score": self.detection.min_score,
            "batch_size": self.detection.batch_size,
            "selection": self.faces,
        }
        if self.models.detector is not None:
            detection = {"detector": self.models.detector, "selection": self.faces}
        settings = sampling | {"detection": detection, "precision": str(self.trainer.precision)}
        if self.sampler.chain(self.sampling.max_steps).solver.num_fresh:  # what is drawn depends on the scheduler
            scheduler = self.backbone.scheduler
            settings["scheduler"] = {"class": type(scheduler).__name__, **scheduler.config}
        self.references.remember_in(folder, settings)

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode: no module here has dropout or batch statistics that training should touch."""
        return super().train(False)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return the configured optimiser over the adaptor's parameters alone, with its schedule."""
        optimizer = self.make_optimizer(list(self.adaptor.parameters().values()))
        if self.make_scheduler is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.make_scheduler(optimizer), "interval": "step"},
        }

    @property
    def variants(self) -> Variants:
        """Versions of the model that are evaluated: the original, the finetuned, and its moving average."""
        return Variants(self.adaptor, self.ema)

    # ------------------------------------------------------------- checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what is trainable and the average; the frozen models stay where they came from."""
        done = self.trainer.fit_loop.epoch_loop.batch_progress.current.processed  # type: ignore[attr-defined]
        unfinished = done % self.trainer.accumulate_grad_batches != 0
        checkpoint.update(training_state(self.adaptor.parameters(), self.ema, unfinished))
        checkpoint["step_guard"] = self.guard.state_dict()
        checkpoint["chain_gradient"] = self.chain_gradient.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore adaptor and average; say what does not fit."""
        self._gradients = restore_training_state(checkpoint, self.adaptor, self.ema)
        self.guard.load_state_dict(checkpoint.get("step_guard", {}))
        self.chain_gradient.load_state_dict(checkpoint.get("chain_gradient", {}))

    # ----------------------------------------------------------------- helpers

    def describe(self) -> dict[str, Any]:
        """Return the settings of this run as plain data, for summaries and metadata.

        The whole config where the command line gave one (`run_config`), else what this module and its data know.
        """
        if self.run_config is not None:
            return self.run_config
        blocks = ["models", "detection", "sampling", "gradient", "replay", "reference_images", "acceleration"]
        blocks += ["alignment", "preservation", "realism"]
        settings: dict[str, Any] = {name: asdict(getattr(self, name)) for name in blocks}
        settings["adaptor"] = self.adaptor.describe()
        settings["target"] = self._data().target.to_dict()
        return settings | {"ema_decay": self.ema_decay, "seed": self.seed}

    def _data(self) -> PromptDataModule:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, PromptDataModule):
            raise TypeError(f"{type(self).__name__} needs a PromptDataModule, got {type(data).__name__}")
        return data

    def _shards(self) -> bool:
        """Return whether the frozen model is spread over processes."""
        return self._trainer is not None and isinstance(self.trainer.strategy, ModelParallelStrategy)

    def _scaler(self) -> torch.amp.GradScaler | None:
        """Return what scales the loss with `16-mixed`."""
        return getattr(self.trainer.precision_plugin, "scaler", None)
