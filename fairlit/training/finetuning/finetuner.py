"""FairFinetuner: the training step of distributional alignment with the adjusted gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from fairlit.adaptors import Adaptor, AdaptorEMA
from fairlit.data import PromptBatch, PromptDataModule
from fairlit.data.prompts.datamodule import NoiseKey
from fairlit.diffusion import Backbone, rollout
from fairlit.diffusion.acceleration import Acceleration, accelerate, tune_attention
from fairlit.errors import Problems
from fairlit.faces import FaceDetector
from fairlit.faces.bank import FaceBank
from fairlit.faces.classifier_files import load_classifier
from fairlit.faces.detection import FaceDetection, FaceSelection, check_face_selection
from fairlit.faces.embedding import load_embedder
from fairlit.faces.observation import observe
from fairlit.losses import AlignmentLoss, FaceRealismLoss, ImagePreservationLoss
from fairlit.perception import ClipEncoder, DinoEncoder
from fairlit.training.distributed import ranks
from fairlit.training.distributed.sharding import shard_frozen
from fairlit.training.finetuning.assignment import assign_over_ranks
from fairlit.training.finetuning.chain_gradient import ChainGradient
from fairlit.training.finetuning.checkpoint import restore_gradients, restore_training_state, training_state
from fairlit.training.finetuning.generated import Generated
from fairlit.training.finetuning.objective import Objective
from fairlit.training.finetuning.reference_images import OriginalImages, pooled_keys
from fairlit.training.finetuning.run_checks import check_optimizer, check_run
from fairlit.training.finetuning.sampler import Sampler
from fairlit.training.finetuning.settings import Gradient, Models, Originals, Replay, Sampling
from fairlit.training.finetuning.step_guard import StepGuard
from fairlit.training.profiling.timing import PhaseTimer, peak_memory

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
SchedulerFactory = Callable[[Optimizer], LRScheduler]
_STEPS_STREAM, _DRAWS_STREAM, _POOL_STREAM, _SUBSETS_STREAM = 3, 4, 5, 6  # beside the streams of noise keys


class FairFinetuner(L.LightningModule):
    """Finetunes a text-to-image model so that the people it draws follow a target distribution.

    Each step samples one prompt's images without gradient, assigns a class to each face by optimal transport to the
    target, differentiates the losses with respect to the final latents, and replays the sampling chain to carry that
    gradient into the adaptor (Shen et al., ICLR 2024).

    Args:
        models: where the models come from.
        adaptor: what is trained.
        detection: settings of face detection.
        faces: faces of an image that count: the `largest`, as in the published method, or `all`.
        sampling: how images are generated.
        gradient: how the gradient goes through the sampling chain.
        replay: how model calls are repeated with gradient.
        originals: how the images of the original model are come by.
        acceleration: how the models run.
        alignment: the loss that moves the distribution.
        preservation: the loss that keeps the rest of the picture.
        realism: the loss that keeps faces real.
        optimizer: makes the optimiser from the adaptor's parameters.
        lr_scheduler: makes a learning rate schedule, advanced after each optimiser step; null: constant.
        ema_decay: decay of the moving average of the adaptor; null: no average.
        max_skipped_steps: the run stops after so many steps in a row whose gradient was not finite.
        seed: of the number of solver steps and of the transport draws.
    """

    def __init__(
        self,
        models: Models,
        adaptor: Adaptor,
        detection: FaceDetection = FaceDetection(),
        faces: FaceSelection = "largest",
        sampling: Sampling = Sampling(),
        gradient: Gradient = Gradient(),
        replay: Replay = Replay(),
        originals: Originals = Originals(),
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
        with Problems("model") as problems:
            check_face_selection(faces, problems)
        self.models, self.sampling, self.gradient = models, sampling, gradient
        self.detection, self.faces = detection, faces
        self.replay, self.originals, self.acceleration = replay, originals, acceleration
        self.alignment, self.preservation, self.realism = alignment, preservation, realism
        self.adaptor = adaptor
        self.make_optimizer, self.make_scheduler = optimizer, lr_scheduler
        self.ema_decay = ema_decay
        self.seed = seed
        self.timer = PhaseTimer()
        self.guard = StepGuard(max_skipped_steps)
        self.run_config: dict[str, Any] | None = None
        self.ema: AdaptorEMA | None = None
        self.objective: Objective | None = None
        self.strict_loading = False  # checkpoints hold what is trainable; what they must hold is checked below
        self._gradients: dict[str, Tensor] = {}  # of a restored checkpoint, until training starts
        with Problems("model") as problems:
            if ema_decay is not None and not 0 <= ema_decay < 1:
                problems.add(f"ema_decay: got {ema_decay}; give 0 <= decay < 1, or null for no average")
            problems.at_least("max_skipped_steps", max_skipped_steps, 1)
            problems.at_least("seed", seed, 0)

    # ------------------------------------------------------------------ set-up

    def check(self, data: PromptDataModule | None, problems: Problems) -> None:
        """Notes what is wrong with the models, and where they do not fit the data, without loading any weights."""
        self.models.check(problems)
        if data is None:
            return
        self.models.check_targets(data.targets(), problems)
        for target in data.targets():
            self.alignment.check(target, problems)
            if self.preservation.weight > 0 and (self.models.clip or self.models.dino):
                self.preservation.check(target.classes, problems)

    def setup(self, stage: str) -> None:
        """Checks models, targets and prompts against each other before any weights are loaded."""
        data = self._data()
        with Problems("config") as problems:
            self.check(data, problems)
            self.check_trainer(self.trainer, data, problems)

    def check_trainer(self, trainer: L.Trainer, data: PromptDataModule, problems: Problems) -> None:
        """Notes where the trainer's settings do not fit those of this module and its data."""
        check_run(trainer, data.images, self.sampling, self.gradient, self.replay, problems)
        with torch.device("cpu"):
            check_optimizer(self.make_optimizer([nn.Parameter(torch.zeros(1))]), trainer, problems)

    def configure_model(self) -> None:
        """Loads the models and attaches the adaptor; Lightning calls it on every rank, possibly more than once."""
        if self.objective is not None:
            return
        with torch.device("cpu"):  # Lightning makes the GPU the default device here, which loaders do not expect
            self._load_models()
        if self.ema_decay is not None:
            self.ema = AdaptorEMA(self.adaptor.parameters(), self.ema_decay)
        self.eval()
        self._remember_originals()
        if self._shards():
            assert self.device_mesh is not None
            parts = (self.backbone.unet, self.backbone.text_encoder)
            shard_frozen(parts, self.device_mesh, self.adaptor.parameters().values())

    def load_backbone(self) -> Backbone:
        """A fresh copy of the model that is finetuned, as it came."""
        return Backbone.load(self.models.backbone, self.sampling.prompt_padding, solver=self.sampling.solver)

    def _load_models(self) -> None:
        models = self.models
        self.backbone = self.load_backbone()
        self.adaptor.attach(self.backbone)
        accelerate(self.backbone, self.acceleration, sharded=self._shards())
        self.detector = FaceDetector.from_settings(self.detection)
        self.classifier = load_classifier(models.classifier)
        self.audit_classifier = load_classifier(models.audit_classifier) if models.audit_classifier else self.classifier
        encoders: dict[str, nn.Module] = {}
        if models.clip:
            encoders["clip"] = ClipEncoder.load(models.clip)
        if models.dino:
            encoders["dino"] = DinoEncoder.load(models.dino)
        self.encoders = nn.ModuleDict(encoders)
        self.embedder = load_embedder(models.face_embedder) if models.face_embedder else None
        self.bank = FaceBank.load(models.face_bank, self.embedder) if self.embedder and models.face_bank else None
        for module in (self.detector, self.audit_classifier, self.encoders, self.embedder, self.bank):
            if module is not None:
                module.requires_grad_(False)
        self.objective = Objective(
            self.backbone.decode,
            self.classifier,
            encoders,
            self.embedder,
            self.bank,
            self.alignment,
            self.preservation,
            self.realism,
            self.faces,
        )
        self.sampler = Sampler(self.backbone, self.adaptor, self.sampling, self.gradient)
        self.original_images = OriginalImages(self.sampler, self.objective, self.detector, self.classifier)
        fixed_shape, subsets = self.acceleration.compile, (self.seed, _SUBSETS_STREAM)
        self.chain_gradient = ChainGradient(self.sampler, self.gradient, self.replay, fixed_shape, subsets)

    def _remember_originals(self) -> None:
        """Before anything is sharded: the cache knows the models by their whole weights."""
        if self._trainer is None or self.originals.noise_pool is None or self.originals.cache is None:
            return
        settings = {name: value for name, value in asdict(self.sampling).items() if not name.endswith("_steps")}
        settings |= {"detection": asdict(self.detection), "faces": self.faces, "precision": str(self.trainer.precision)}
        self.original_images.remember_in(self.originals.cache, settings)

    def train(self, mode: bool = True) -> FairFinetuner:
        """Stays in eval mode: no module here has dropout or batch statistics that training should touch."""
        return super().train(False)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The configured optimiser over the adaptor's parameters alone, with its schedule."""
        optimizer = self.make_optimizer(list(self.adaptor.parameters().values()))
        if self.make_scheduler is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.make_scheduler(optimizer), "interval": "step"},
        }

    # ---------------------------------------------------------------- training

    def on_train_start(self) -> None:
        """Takes up an accumulation of gradients in which a checkpoint was made; makes ready what depends on the run."""
        restore_gradients(self._gradients, self.adaptor.parameters())
        if self.acceleration.attention == "auto" and self.device.type == "cuda":
            tune_attention(self.backbone, self.sampling.image_size, 2 * self.sampling.batch_size)

    def training_step(self, batch: PromptBatch, batch_idx: int) -> Tensor:
        """One prompt, its images over all ranks, one gradient."""
        sampler, originals = self.sampler, self.original_images
        steps, keys = self._draw(batch)
        keys = ranks.share_of_rank(keys)
        noise = sampler.noise(keys)
        with self.timer.measure("rollout"):
            described = originals.recall(batch.prompt, keys, steps)
            conditioning = sampler.conditioning(batch.prompt, len(keys))
            original = None if described else sampler.original_conditioning(batch.prompt, len(keys))
            sampled = sampler.sample(steps, noise, conditioning, original, self.originals.with_rollout)
        with self.timer.measure("originals"):
            if sampled.originals is not None:
                described = originals.describe(sampled.originals, batch.prompt, keys, steps)
        assert described is not None
        with self.timer.measure("faces"):
            images = sampler.decode(sampled.latents)
            observation = observe(images, self.detector, self.classifier, self.faces)
            target = batch.target.reorder(self.classifier.classes)
            seed = int(np.random.default_rng((self.seed, _DRAWS_STREAM, batch.index)).integers(2**31))
            wanted, logs = assign_over_ranks(observation, target, len(batch.keys), self.alignment, seed)
        with self.timer.measure("losses"):
            scale = 1.0 if (scaler := self._scaler()) is None else scaler.get_scale()
            value = self._objective().differentiate(
                sampled.latents.detach(), observation, described, wanted, self.gradient.loss_batch, scale
            )
            self.guard.note_loss(value.loss)
        with self.timer.measure("replay"):
            latents = self.chain_gradient.attach(sampled, steps, noise, conditioning, batch.index)
        self._log_step(value.loss, value.parts, logs)
        # The replay needs dL/dx_S alone: a linear stand-in has that gradient, and the true loss as its value.
        stand_in = (latents * value.gradient).sum()
        return stand_in - stand_in.detach() + value.loss

    def _draw(self, batch: PromptBatch) -> tuple[int, list[NoiseKey]]:
        """Number of solver steps and noise keys of a batch: its own, or those of a set in the pool."""
        name: tuple[int, ...] = (self.seed, _STEPS_STREAM, batch.index)
        keys = batch.keys
        if (pool := self.originals.noise_pool) is not None:
            name, keys = pooled_keys(keys, pool, (self.seed, _POOL_STREAM), batch.index)
        generator = np.random.default_rng(name)
        return int(generator.integers(self.sampling.min_steps, self.sampling.max_steps + 1)), keys

    # ----------------------------------------------------------------- logging

    def _log_step(self, loss: Tensor, parts: dict[str, Tensor], logs: dict[str, Tensor | float]) -> None:
        # The parts are this rank's share times the number of ranks, so their mean over ranks is the loss.
        self.log("loss", loss, prog_bar=True, sync_dist=True)
        self.log_dict({f"loss/{name}": part for name, part in parts.items()}, sync_dist=True)
        for name, value in logs.items():
            self.log(name, value, prog_bar=name.startswith("bias/"))

    def on_before_backward(self, loss: Tensor) -> None:
        """The replay runs inside the backward pass."""
        self.timer.start("replay")

    def on_after_backward(self) -> None:
        """Averages gradients where the strategy does not, and ends the replay's clock."""
        if self._shards():
            ranks.average_gradients(list(self.adaptor.parameters().values()))
        self.timer.stop("replay")

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Removes gradients that are not finite, and logs the size of gradient and adaptor before clipping."""
        parameters = list(self.adaptor.parameters().values())
        self.log("norm/gradient", self.guard.examine(parameters, scaler := self._scaler()))
        self.log("steps/skipped", float(self.guard.skipped))
        if scaler is not None:
            self.log("steps/loss_scale", scaler.get_scale())
        self.log("norm/adaptor", torch.nn.utils.get_total_norm([parameter.detach() for parameter in parameters]))

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """A step of the optimiser, then one of the average."""
        scaler = self._scaler()
        scale = scaler.get_scale() if scaler is not None else 1.0
        super().optimizer_step(*args, **kwargs)
        if scaler is not None and self.guard.keeps_scale:
            scaler.update(scale)
        if self.ema is not None and self.guard.applied:
            self.ema.update()

    def on_train_batch_end(self, outputs: Any, batch: PromptBatch, batch_idx: int) -> None:
        """Logs where the seconds went, and stops a run whose steps are all skipped."""
        seconds = self.timer.collect()
        self.log_dict({f"seconds/{phase}": value for phase, value in seconds.items()})
        self.log("seconds/step", sum(seconds.values()))
        self.log("memory/peak_GiB", peak_memory())
        if (cache := self.original_images.cache) is not None:
            self.log_dict({"originals/found": cache.share_found, "originals/damaged": float(cache.damaged)})
        self.guard.stop_if_hopeless(self.trainer)

    # -------------------------------------------------------------- evaluation

    @property
    def variants(self) -> list[str]:
        """Versions of the model that are evaluated: the original, the finetuned, and its moving average."""
        return ["original", "finetuned"] + (["ema"] if self.ema is not None else [])

    @contextmanager
    def as_variant(self, variant: str) -> Iterator[None]:
        """Inside the block the model is the one named."""
        if variant == "original":
            with self.adaptor.disabled():
                yield
        elif variant == "ema" and self.ema is not None:
            with self.ema.applied():
                yield
        else:
            yield

    @torch.no_grad()
    def generate(self, batch: PromptBatch, variant: str) -> Generated:
        """This rank's share of a prompt's images by one variant of the model, judged by the auditing classifier."""
        keys = ranks.share_of_rank(batch.keys)
        sampler = self.sampler
        chain = sampler.chain(self.sampling.evaluation_steps)
        with self.as_variant(variant):
            conditioning = sampler.conditioning(batch.prompt, len(keys))
            latents = rollout(chain, sampler.noise(keys), conditioning, self.sampling.batch_size).latents
        images = sampler.decode(latents)
        observation = observe(images, self.detector, self.audit_classifier, self.faces)
        clip = self._objective().encoders.get("clip")
        text = clip.text_features([batch.prompt]) if isinstance(clip, ClipEncoder) else None
        return Generated(images, observation, self._objective().features(images), text)

    def validation_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Generated]:
        """Images of one validation prompt by every variant; callbacks measure and show them."""
        return {variant: self.generate(batch, variant) for variant in self.variants}

    def test_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Generated]:
        """Images of one test prompt before and after: by the original and by what training has led to."""
        return {variant: self.generate(batch, variant) for variant in ("original", self.variants[-1])}

    def predict_step(self, batch: PromptBatch, batch_idx: int) -> Generated:
        """Images of one test prompt by the finetuned model (its average where there is one)."""
        return self.generate(batch, self.variants[-1])

    # ------------------------------------------------------------- checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps what is trainable and the average; the frozen models stay where they came from."""
        done = self.trainer.fit_loop.epoch_loop.batch_progress.current.processed  # type: ignore[attr-defined]
        unfinished = done % self.trainer.accumulate_grad_batches != 0
        checkpoint.update(training_state(self.adaptor.parameters(), self.ema, unfinished))
        checkpoint["step_guard"] = self.guard.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores adaptor and average; says what does not fit."""
        self._gradients = restore_training_state(checkpoint, self.adaptor.parameters(), self.ema)
        self.guard.load_state_dict(checkpoint.get("step_guard", {}))

    # ----------------------------------------------------------------- helpers

    def describe(self) -> dict[str, Any]:
        """The settings of this run as plain data, for summaries and metadata.

        The whole config where the command line gave one (`run_config`), else what this module and its data know.
        """
        if self.run_config is not None:
            return self.run_config
        blocks = ["models", "detection", "sampling", "gradient", "replay", "originals", "acceleration"]
        blocks += ["alignment", "preservation", "realism"]
        settings: dict[str, Any] = {name: asdict(getattr(self, name)) for name in blocks}
        settings["adaptor"] = self.adaptor.describe()
        settings["target"] = self._data().target.to_dict()
        return settings | {"ema_decay": self.ema_decay, "seed": self.seed}

    def _data(self) -> PromptDataModule:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data, PromptDataModule):
            raise TypeError(f"FairFinetuner needs a PromptDataModule, got {type(data).__name__}")
        return data

    def _shards(self) -> bool:
        """Whether the frozen model is spread over processes."""
        return self._trainer is not None and isinstance(self.trainer.strategy, ModelParallelStrategy)

    def _scaler(self) -> torch.amp.GradScaler | None:
        """What scales the loss with `16-mixed`."""
        return getattr(self.trainer.precision_plugin, "scaler", None)

    def _objective(self) -> Objective:
        assert self.objective is not None, "configure_model has not run"
        return self.objective
