"""FairFinetuner: the training step of distributional alignment with the adjusted gradient."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from fairlit.data import PromptBatch
from fairlit.diffusion.acceleration import tune_attention
from fairlit.faces.jitter import jitter_faces
from fairlit.faces.observation import Observation, observe
from fairlit.training.distributed import ranks
from fairlit.training.finetuning.assignment import TargetLabels, assign_over_ranks
from fairlit.training.finetuning.checkpoint import restore_gradients
from fairlit.training.finetuning.decoded_images import DecodedImages
from fairlit.training.finetuning.generated import Generated
from fairlit.training.finetuning.module import FinetuningModule
from fairlit.training.finetuning.objective import ObjectiveValue, ReferenceDescription
from fairlit.training.finetuning.operating_points import OperatingPoint, operating_points
from fairlit.training.finetuning.step_draws import crop_draws, draw_step, targets_seed
from fairlit.training.finetuning.variants import ORIGINAL
from fairlit.training.profiling.timing import peak_memory


class FairFinetuner(FinetuningModule):
    """Finetunes a text-to-image model so that the people it draws follow a target distribution.

    Each step samples one prompt's images without gradient, assigns a class to each face by optimal transport to the
    target, differentiates the losses with respect to the final latents, and replays the sampling chain to carry that
    gradient into the adaptor (Shen et al., ICLR 2024).

    A subclass may override a phase of the step (`observe`, `assign`, `differentiate`), or a hook that
    `FinetuningModule` lists. Its settings are those of `FinetuningModule`.
    """

    # ---------------------------------------------------------------- training

    def on_train_start(self) -> None:
        """Take up an accumulation of gradients in which a checkpoint was made; prepare what depends on the run."""
        restore_gradients(self._gradients, self.adaptor.parameters())
        if self.acceleration.attention == "auto" and self.device.type == "cuda":
            tune_attention(self.backbone, self.sampling.image_size, 2 * self.sampling.batch_size)

    def training_step(self, batch: PromptBatch, batch_idx: int) -> Tensor:
        """Return the loss of one prompt's images over all ranks, with its gradient."""
        draw = draw_step(batch, self.sampler, noise_pool=self.reference_images.noise_pool, seed=self.seed)
        with self.timer.measure("rollout"):
            conditioning = self.sampler.conditioning(draw.prompt, len(draw.keys), draw.mix)
            keep = self.chain_gradient.keep(draw, conditioning)
        sampled, references = self.references.sample(draw, conditioning, self.timer, keep=keep)
        with self.timer.measure("faces"):
            images = self.objective.decoded(sampled.latents, self.gradient.loss_batch)
            observation = self.observe(images)
            target_labels, logs = self.assign(observation, batch)
        with self.timer.measure("losses"):
            observation = self.jitter(observation, batch)
            value = self.differentiate(images, observation, references, target_labels=target_labels)
            self.guard.note_loss(value.loss)
        with self.timer.measure("replay"):
            latents = self.chain_gradient.attach(sampled, draw, conditioning)
        self._log_step(value, logs)
        # The replay needs dL/dx_S alone: a linear stand-in has that gradient, and the true loss as its value.
        stand_in = (latents * value.gradient).sum()
        return stand_in - stand_in.detach() + value.loss

    def observe(self, images: DecodedImages) -> Observation:
        """Return the faces in a step's images, as the classifier that is trained against sees them."""
        # unchecked: where half precision overflows, the step is skipped on all ranks (`StepGuard`)
        return observe(images.pixels, self.frozen.detector, self.frozen.classifier, selection=self.faces, check=False)

    def assign(self, observation: Observation, batch: PromptBatch) -> tuple[TargetLabels, dict[str, Tensor | float]]:
        """Return what this rank's faces are to become, and figures to log; every rank calls this."""
        classifier = self.frozen.classifier
        return assign_over_ranks(
            observation,
            batch.target.reorder(classifier.classes),
            len(batch.keys),
            alignment=self.alignment,
            seed=targets_seed(self.seed, batch.index),
            confusions=classifier.confusion,
        )

    def jitter(self, observation: Observation, batch: PromptBatch) -> Observation:
        """Return the observation with its faces where the alignment loss is to crop them."""
        if self.alignment.crop_jitter == 0:
            return observation
        draws = crop_draws(self.seed, batch.index, observation.faces.counts)
        return replace(observation, crops=jitter_faces(observation.faces, draws, self.alignment.crop_jitter))

    def differentiate(
        self,
        images: DecodedImages,
        observation: Observation,
        references: ReferenceDescription,
        *,
        target_labels: TargetLabels,
    ) -> ObjectiveValue:
        """Return the losses of a step's images, and dL/dx_S."""
        scale = 1.0 if (scaler := self._scaler()) is None else scaler.get_scale()
        return self.objective.differentiate(
            images, observation, references, target_labels=target_labels, loss_scale=scale
        )

    # ----------------------------------------------------------------- logging

    def _log_step(self, value: ObjectiveValue, logs: dict[str, Tensor | float]) -> None:
        # The parts are this rank's share times the number of ranks, so their mean over ranks is the loss.
        self.log("loss", value.loss, prog_bar=True, sync_dist=True)
        self.log_dict({f"loss/{name}": part for name, part in value.parts.items()}, sync_dist=True)
        for name, figure in logs.items():
            kind, _, attribute = name.partition("/")
            on_bar = kind == "tv" or (kind == "bias" and f"tv/{attribute}" not in logs)
            self.log(name, figure, prog_bar=on_bar)

    def on_before_backward(self, loss: Tensor) -> None:
        """Start the clock of the replay, which runs inside the backward pass."""
        self.timer.start("replay")

    def on_after_backward(self) -> None:
        """Average gradients where the strategy does not, and end the replay's clock."""
        if self._shards():
            ranks.average_gradients(list(self.adaptor.parameters().values()))
        self.timer.stop("replay")

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Remove gradients that are not finite, and log the size of gradient and adaptor before clipping."""
        parameters = list(self.adaptor.parameters().values())
        self.log("norm/gradient", self.guard.examine(parameters, scaler := self._scaler()))
        self.log("steps/skipped", float(self.guard.skipped))
        if scaler is not None:
            self.log("steps/loss_scale", scaler.get_scale())
        self.log("norm/adaptor", torch.nn.utils.get_total_norm([parameter.detach() for parameter in parameters]))

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Take a step of the optimiser, then one of the average."""
        scaler = self._scaler()
        scale = scaler.get_scale() if scaler is not None else 1.0
        super().optimizer_step(*args, **kwargs)
        if scaler is not None and self.guard.keeps_scale:
            scaler.update(scale)
        if self.ema is not None and self.guard.applied:
            self.ema.update()

    def on_train_batch_end(self, outputs: Any, batch: PromptBatch, batch_idx: int) -> None:
        """Log where the seconds went, and stop a run whose steps are all skipped."""
        seconds = self.timer.collect()
        self.log_dict({f"seconds/{phase}": value for phase, value in seconds.items()})
        self.log("seconds/step", sum(seconds.values()))
        self.log("memory/peak_GiB", peak_memory())
        if (cache := self.references.cache) is not None:
            self.log_dict({"originals/found": cache.share_found, "originals/damaged": float(cache.damaged)})
        self.guard.stop_if_hopeless(self.trainer)

    # -------------------------------------------------------------- evaluation

    def as_variant(self, variant: str) -> AbstractContextManager[None]:
        """Return a context in which the model is the version named."""
        return self.variants.applied(variant)

    def generate(self, batch: PromptBatch, variant: str, at: OperatingPoint | None = None) -> Generated:
        """Return this rank's share of a prompt's images by one version of the model, judged by `audit_classifier`."""
        return self.evaluator.generate(batch, self.variants, variant, at=at)

    def validation_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, Generated]:
        """Return images of one validation prompt by every variant; callbacks measure and show them."""
        return {variant: self.generate(batch, variant) for variant in self.variants}

    def test_step(self, batch: PromptBatch, batch_idx: int) -> dict[str, dict[str, Generated]]:
        """Return images of one test prompt before and after: by the original and by what training has led to.

        They come by name for each of the run's `operating_points`, the usual one first.
        """
        before: dict[OperatingPoint, Generated] = {}  # strengths do not change the original model
        outputs: dict[str, dict[str, Generated]] = {}
        for point in operating_points(self.sampling):
            trained = replace(point, strength=1.0)
            if trained not in before:
                before[trained] = self.generate(batch, ORIGINAL, trained)
            after = self.variants[-1]
            outputs[point.name] = {ORIGINAL: before[trained], after: self.generate(batch, after, point)}
        return outputs

    def predict_step(self, batch: PromptBatch, batch_idx: int) -> Generated:
        """Return images of one test prompt by the finetuned model (its average where there is one)."""
        return self.generate(batch, self.variants[-1])
