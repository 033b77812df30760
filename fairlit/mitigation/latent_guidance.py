"""Latent guidance: the initial noise of a set of images, moved until the faces in them are as the target asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor

from fairlit.diffusion import Backbone, Conditioning, noise_gradient, rollout
from fairlit.diffusion.finiteness import check_finite
from fairlit.errors import Problems
from fairlit.faces import FaceClassifier, FaceDetectorBase, Faces
from fairlit.faces.detection import FaceDetection, with_renamed_settings
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.sampling.x0_chain import NoiseGradient, x0_chain
from fairlit.functional.statistics.fairness import kl_divergences
from fairlit.io.class_paths import ClassSpec
from fairlit.io.finiteness import require_finite
from fairlit.mitigation.face_editing.judge import FaceJudge
from fairlit.mitigation.method import Chunk, Method, Need, Sampler, SamplingPlan, require_full_batch
from fairlit.terminal import tell

LEAST_SHARE = 1e-4  # a class that the target rules out would make the divergence infinite


class LatentGuidance(Method):
    """Moves the noise of all images of a prompt together, by descent on KL(mean predicted || target).

    The mean is over the images with a face, of the classifier's probabilities on the joint classes. The gradient goes
    back through classifier, crop, decoder and sampling chain to the noise. An image without a face gets none. The
    objective adds leash / 2 times the mean squared distance of the noise from where it began. The step is the gradient
    divided by its root mean square over the set, times `step_size`: a gradient's size says little (the chain's differs
    by orders of magnitude between models and modes), and so step_size counts in standard deviations of the noise. Where
    the classifier is sure of most faces, one image has nearly all of the gradient: its step is cut to that size too,
    since larger ones lose its face.
    Divergence, leash and the share of faces lost are judged before every step, and the best state is kept.

    The mean of probabilities can be met by faces that are each undecided, and a gradient can fool the classifier that
    it comes from: judge by another one.

    Args:
        classifier: classifier that gives probabilities, a folder, YAML file of words or class, see
            `faces.load_classifier`.
        gradient: ``uniform`` and ``natural``: adjusted, of paths through one model call, see `functional.x0_chain`;
            ``full``: through the whole chain.
        iterations: steps at most; each samples all images and repeats every model call with gradient.
        step_size: largest root mean square of an image's step, in standard deviations of the noise.
        leash: weight of the squared distance from the first noise; 0: none.
        keep_norm: give the noise of each image its first norm back after every step: Gaussian noise of d elements
            lies near the shell of radius sqrt(d), and the model knows no other.
        tolerance: a divergence, in nats, that is small enough to stop at.
        detection: settings of face detection.
        detector: class of a detector of somebody's own, see `faces.load_detector`; null: MTCNN.
        min_face_size: deprecated; use detection.min_size.
        enlarge: deprecated; use detection.scale.

    Raises:
        ConfigurationError: an argument is out of range.
    """

    name: ClassVar[str] = "latent guidance"
    needs: ClassVar[tuple[Need, ...]] = ("classifier",)
    former_arguments: ClassVar[tuple[str, ...]] = ("min_face_size", "enlarge")
    needs_full_batch: ClassVar[bool] = True

    def __init__(
        self,
        classifier: ClassSpec,
        *,
        gradient: NoiseGradient = "uniform",
        iterations: int = 20,
        step_size: float = 0.1,
        leash: float = 0.0,
        keep_norm: bool = True,
        tolerance: float = 0.002,
        detection: FaceDetection = FaceDetection(),
        detector: ClassSpec | None = None,
        min_face_size: float | None = None,
        enlarge: float | None = None,
    ) -> None:
        self.classifier = classifier
        self.detection = with_renamed_settings(detection, min_face_size=min_face_size, enlarge=enlarge)
        self.detector = detector
        self.gradient = gradient
        self.iterations = iterations
        self.step_size = step_size
        self.leash = leash
        self.keep_norm = keep_norm
        self.tolerance = tolerance
        with Problems(self.name) as problems:
            if gradient not in get_args(NoiseGradient):
                problems.add(f"gradient: got {gradient!r}; choose one of {', '.join(get_args(NoiseGradient))}")
            if iterations < 1:
                problems.add(f"iterations: got {iterations}; give at least 1, or choose the method `none`")
            if not step_size > 0:
                problems.add(f"step_size: got {step_size}; give more than 0")
            for name, value in (("leash", leash), ("tolerance", tolerance)):
                problems.at_least(name, value, 0)

    @property
    def judge(self) -> FaceJudge:
        """Detector and classifier that lead the method."""
        return FaceJudge(classifier=self.classifier, detection=self.detection, detector=self.detector)

    def digests(self) -> dict[str, str]:
        """Return digests of classifier and detector."""
        return self.judge.digests()

    def check(self, target: TargetDistribution | None, problems: Problems) -> None:
        """Note a classifier that does not fit the target."""
        self.judge.check(self.required(target), problems)

    def check_scheduler(self, scheduler: Any, steps: int, problems: Problems) -> None:
        """Note a scheduler without a gradient to the initial noise."""
        with problems.collecting():
            x0_chain(scheduler, steps)

    @contextmanager
    def prepare(self, backbone: Backbone, plan: SamplingPlan, target: TargetDistribution | None) -> Iterator[Sampler]:
        """Opens detector and classifier; the model is not changed."""
        target = self.required(target)
        with Problems(self.name) as problems:
            self.check(target, problems)
        chain = plan.chain(backbone)
        x0 = x0_chain(backbone.scheduler, plan.steps)
        detector, classifier = self.judge.load(backbone.device, target)
        divergence = SetDivergence(backbone, detector, classifier, target, plan.batch_size)

        @torch.no_grad()
        def sample(chunk: Chunk, noise: Tensor) -> Tensor:
            require_full_batch(self.name, chunk)
            conditioning = Conditioning.of_one_prompt(backbone.encode(["", chunk.prompt]), len(noise))
            moved, least = noise.float(), float("inf")
            for iteration in range(self.iterations + 1):
                sampled = rollout(chain, moved.to(noise), conditioning, plan.batch_size)
                if iteration == 0:
                    check_finite(backbone, sampled.latents, "denoiser")
                value, seen, cotangent = divergence(sampled.latents)
                if iteration == 0:
                    best, first = sampled.latents, seen
                distance = float((moved - noise).square().mean())
                lost = max(first - seen, 0) / max(len(noise), 1)
                tell(f"{self.name}: step {iteration} of at most {self.iterations}, KL {value:.4f}, faces {seen}")
                if value + self.leash / 2 * distance + lost < least:
                    best, least = sampled.latents, value + self.leash / 2 * distance + lost
                if iteration == self.iterations or value <= self.tolerance or seen == 0:
                    break
                slope = noise_gradient(
                    chain,
                    sampled,
                    conditioning,
                    cotangent=cotangent,
                    x0=x0,
                    gradient=self.gradient,
                    max_batch=plan.batch_size,
                ).float()
                slope = slope + self.leash / moved.numel() * (moved - noise)
                moved = self._step(moved, slope, noise.float())
            return best

        yield sample

    def _step(self, moved: Tensor, slope: Tensor, noise: Tensor) -> Tensor:
        """One step down, back on the shell of the first noise [N, C, h, w] where that is asked for."""
        squares = slope.square().mean(dim=(1, 2, 3), keepdim=True)
        size = squares.mean().sqrt()
        if size == 0 or not size.isfinite():
            return moved
        stepped = moved - self.step_size * slope / torch.maximum(size, squares.sqrt())
        if not self.keep_norm:
            return stepped
        radius = noise.flatten(1).norm(dim=1) / stepped.flatten(1).norm(dim=1)
        still = (stepped == noise).flatten(1).all(dim=1)  # what has not moved is left as it is, to the last bit
        return stepped * torch.where(still, 1.0, radius)[:, None, None, None]


@dataclass(frozen=True)
class SetDivergence:
    """KL(mean predicted || target) of a set of latents, and its gradient, some images at a time.

    Attributes:
        backbone: decodes.
        detector: finds faces; of several in an image the largest counts.
        classifier: says what they look like.
        target: what they are to look like.
        max_batch: images that are decoded together.
    """

    backbone: Backbone
    detector: FaceDetectorBase
    classifier: FaceClassifier
    target: TargetDistribution
    max_batch: int

    def __call__(self, latents: Tensor) -> tuple[float, int, Tensor]:
        """Value, number of faces F, and gradient [N, C, h, w] with respect to `latents` [N, C, h, w].

        Without any face the value is infinite and the gradient 0.
        """
        target = self.target.reorder(self.classifier.classes)
        shares = target.table.flatten().clamp(min=LEAST_SHARE)
        parts = latents.split(self.max_batch)
        found, rows = [], []
        with torch.no_grad():
            for part in parts:
                images = self.backbone.decode(part).float()
                found.append(self.detector(images).largest())
                rows.append(self._probabilities(images, found[-1], target))
                require_finite(rows[-1], "classifier: probabilities")
        with torch.enable_grad():
            leaf = torch.cat(rows).requires_grad_()
            if len(leaf) == 0:
                return float("inf"), 0, torch.zeros_like(latents)
            value = kl_divergences(leaf.mean(0), shares.to(leaf))
            seeds = torch.autograd.grad(value, leaf)[0].split([len(row) for row in rows])
        slopes = [
            self._pull_back(part, faces, seed, target=target)
            for part, faces, seed in zip(parts, found, seeds, strict=True)
        ]
        return float(value.detach()), len(leaf), torch.cat(slopes)

    def _pull_back(self, latents: Tensor, faces: Faces, seeds: Tensor, *, target: TargetDistribution) -> Tensor:
        if len(faces) == 0:
            return torch.zeros_like(latents)
        with torch.enable_grad():
            leaf = latents.detach().requires_grad_()
            rows = self._probabilities(self.backbone.decode(leaf).float(), faces, target)
        return torch.autograd.grad(rows, leaf, seeds)[0]

    def _probabilities(self, images: Tensor, faces: Faces, target: TargetDistribution) -> Tensor:
        """Of each joint class for each face [F, K], differentiable in `images` [n, 3, H, W]."""
        logits = self.classifier.classify(images, faces)
        joint = images.new_ones(len(faces), 1)
        for attribute in target.attributes:
            joint = (joint[:, :, None] * logits[attribute].float().softmax(dim=-1)[:, None]).flatten(1)
        return joint
