"""Perceived shares among the faces that a model draws for prompts, with the same noise every time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fairlit.diffusion import Backbone
from fairlit.diffusion.finiteness import finite_images
from fairlit.faces import FaceClassifier, FaceDetectorBase
from fairlit.faces.observation import observe
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.sampling.noise import chain_noise
from fairlit.mitigation.method import Chunk, Sampler

MEASUREMENT = 0x554345  # sets the noise of measurements apart from that of the images that are asked for


@dataclass(frozen=True, kw_only=True)
class ShareMeasurement:
    """Images of some prompts, made and classified again and again while a model changes.

    Attributes:
        backbone: model whose images are measured.
        detector: finder of faces; of several in an image the largest counts.
        classifier: classifier of the faces.
        target: attributes and classes to measure, in the order of the result.
        prompts: C prompts.
        images: number of images per prompt.
        seed: seed of their noise.
        batch_size: number of images that are decoded together.
        fresh: number of times that the solver draws fresh noise.
    """

    backbone: Backbone
    detector: FaceDetectorBase
    classifier: FaceClassifier
    target: TargetDistribution
    prompts: Sequence[str]
    images: int
    seed: int
    batch_size: int
    fresh: int

    @torch.no_grad()
    def __call__(self, sampler: Sampler) -> Tensor:
        """Return perceived shares among the faces of each prompt, for the model as it is now.

        Args:
            sampler: sampler of the model.

        Returns:
            float64 [C, number of classes of all attributes]; NaN where no image of a prompt has a face.
        """
        like = next(self.backbone.denoiser.parameters())
        rows = []
        for number, prompt in enumerate(self.prompts):
            keys = [(self.seed, MEASUREMENT, number, image) for image in range(self.images)]
            noise = chain_noise(keys, self.backbone.latent_shape(), self.fresh).to(like)
            rows.append(self._shares(sampler(Chunk.whole(prompt, self.images), noise)))
        return torch.stack(rows)

    def _shares(self, latents: Tensor) -> Tensor:
        """Shares of each class of each attribute among the faces of n images, one attribute after the other."""
        known = self.classifier.classes
        order = {name: [known[name].index(entry) for entry in names] for name, names in self.target.classes.items()}
        counts = torch.zeros(sum(map(len, order.values())), dtype=torch.float64)
        for part in latents.split(self.batch_size):
            seen = observe(finite_images(self.backbone, part, len(part)), self.detector, self.classifier)
            counts += torch.cat([_counts(seen.probabilities[name])[columns] for name, columns in order.items()])
        return counts * len(order) / counts.sum()


def _counts(probabilities: Tensor) -> Tensor:
    """How many rows of [F, K] are highest in each column, float64 [K] on the CPU."""
    return torch.bincount(probabilities.argmax(dim=-1).cpu(), minlength=probabilities.shape[-1]).double()
