"""Originals: the images of the original model for the same prompt and noise, or what is remembered of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fairlit.data.prompts.datamodule import NoiseKey
from fairlit.faces import FaceClassifier, FaceDetectorBase
from fairlit.faces.observation import observe
from fairlit.training.distributed import ranks
from fairlit.training.finetuning.objective import Objective, OriginalDescription
from fairlit.training.finetuning.reference_cache import OriginalsCache, fingerprint
from fairlit.training.finetuning.sampler import Sampler


def pooled_keys(
    keys: Sequence[NoiseKey], pool: int, seed: tuple[int, ...], index: int
) -> tuple[tuple[int, ...], list[NoiseKey]]:
    """Noise keys that repeat: those of one of `pool` sets of noise.

    Args:
        keys: of an iteration's images, the number of the image last.
        pool: number of sets.
        seed: numbers that name the stream of draws.
        index: of the iteration.

    Returns:
        A seed that belongs to the set, and the key of each image in it.
    """
    slot = int(np.random.default_rng((*seed, index)).integers(pool))
    named = (*seed, slot)
    return named, [(*named, key[-1]) for key in keys]


class OriginalImages:
    """Describes original images for the losses, and remembers descriptions on disk where noise comes again.

    Args:
        sampler: decodes.
        objective: knows what the losses need.
        detector: finds faces.
        classifier: classifies them.
        cache: where to remember; None: nowhere.
    """

    def __init__(
        self,
        sampler: Sampler,
        objective: Objective,
        detector: FaceDetectorBase,
        classifier: FaceClassifier,
        cache: OriginalsCache | None = None,
    ) -> None:
        self.sampler, self.objective = sampler, objective
        self.detector, self.classifier, self.cache = detector, classifier, cache

    def recall(self, prompt: str, keys: Sequence[NoiseKey], steps: int) -> OriginalDescription | None:
        """What is remembered, if every rank remembers its share: model calls must stay in step."""
        if self.cache is None:
            return None
        found = self.cache.load(_key(prompt, keys, steps), self.sampler.backbone.device)
        return found if ranks.all_of(found is not None) else None

    @torch.no_grad()
    def describe(self, latents: Tensor, prompt: str, keys: Sequence[NoiseKey], steps: int) -> OriginalDescription:
        """What the losses need of originals with final latents [N, C, h, w]; remembered from now on."""
        images = self.sampler.decode(latents)
        described = self.objective.describe_originals(
            images, observe(images, self.detector, self.classifier, self.objective.faces)
        )
        if self.cache is not None:
            self.cache.save(_key(prompt, keys, steps), described)
        return described

    def remember_in(self, folder: str, settings: Mapping[str, Any]) -> None:
        """Remembers from now on.

        Args:
            folder: of the cache.
            settings: plain data, all that decides what an original is apart from the models.
        """
        judges = (self.detector, self.classifier, *self.objective.encoders.values(), self.objective.embedder)
        modules = [self.sampler.backbone, *(judge for judge in judges if isinstance(judge, nn.Module))]
        terms = [self.objective.preserves, self.objective.embeds_faces]
        self.cache = OriginalsCache(folder, fingerprint(modules, {"terms": terms, **settings}))


def _key(prompt: str, keys: Sequence[NoiseKey], steps: int) -> dict[str, Any]:
    return {"prompt": prompt, "noise": [list(key) for key in keys], "steps": steps}
