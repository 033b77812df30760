"""Reference images: those of the original model for the same prompt and noise, or what is remembered of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fairlit.diffusion import Conditioning
from fairlit.diffusion.kept_activations import KeptActivations
from fairlit.faces.observation import observe
from fairlit.training.distributed import ranks
from fairlit.training.finetuning.frozen_models import FrozenModels
from fairlit.training.finetuning.objective import Objective, ReferenceDescription
from fairlit.training.finetuning.reference_cache import ReferenceCache, fingerprint
from fairlit.training.finetuning.sampler import Sampler, Samples
from fairlit.training.finetuning.step_draws import StepDraw
from fairlit.training.profiling.timing import PhaseTimer


class ReferenceSampler:
    """Samples a step's images together with their reference images, of which it gives what the losses need.

    Reference images that come again are described once and remembered on disk, after `remember_in`. A subclass that
    has references of another kind overrides `describe`.

    Args:
        models: models that look at the images.
        sampler: sampler of both models.
        objective: objective that knows what the losses need.
        with_rollout: whether both are sampled in one batch where that gives the same.

    Attributes:
        cache: what is remembered; None: nothing.
    """

    def __init__(self, models: FrozenModels, sampler: Sampler, objective: Objective, *, with_rollout: bool) -> None:
        self.models, self.sampler, self.objective = models, sampler, objective
        self.with_rollout = with_rollout
        self.cache: ReferenceCache | None = None

    def sample(
        self, draw: StepDraw, conditioning: Conditioning, timer: PhaseTimer, *, keep: KeptActivations | None = None
    ) -> tuple[Samples, ReferenceDescription]:
        """Sample the images of a step, and describe their reference images.

        Args:
            draw: prompt, noise and number of steps of this rank's images.
            conditioning: the prompt as the adapted model reads it.
            timer: timer of the phases ``rollout`` and ``originals``.
            keep: evaluations of the adapted model whose activations are kept for the replay; None: of no evaluation.
        """
        with timer.measure("rollout"):
            known = self._recall(draw)
            original = None if known else self.sampler.original_conditioning(draw.prompt, len(draw.keys), draw.mix)
            sampled = self.sampler.sample(
                draw.num_steps,
                draw.noise,
                conditioning,
                guidance_scale=draw.guidance_scale,
                references=original,
                together=self.with_rollout,
                keep=keep,
            )
        if known is not None:
            return sampled, known
        assert sampled.references is not None
        with timer.measure("originals"):
            described = self.describe(sampled.references)
            if self.cache is not None:
                self.cache.save(self._key(draw), described)
        return sampled, described

    @torch.no_grad()
    def describe(self, latents: Tensor) -> ReferenceDescription:
        """Return what the losses need of reference images with final latents [N, C, h, w]."""
        images = self.sampler.decode(latents)
        detector, classifier = self.models.detector, self.models.classifier
        observation = observe(images, detector, classifier, selection=self.objective.faces, check=False)
        return self.objective.describe_references(images, observation)

    def remember_in(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """Remember descriptions from now on.

        Args:
            folder: folder of the cache.
            settings: plain data, all that decides what a reference image is apart from the models.
        """
        models = self.models
        modules: list[nn.Module] = [models.backbone, models.detector, models.classifier, *models.encoders.values()]
        modules += [models.embedder] if models.embedder is not None else []
        terms = [self.objective.preserves, self.objective.embeds_faces]
        self.cache = ReferenceCache(
            folder, fingerprint(modules, {"terms": terms, "classifier": models.classifier.fingerprint, **settings})
        )

    def _recall(self, draw: StepDraw) -> ReferenceDescription | None:
        """Return what is remembered if every rank remembers its share: the ranks' evaluations must stay in step."""
        if self.cache is None:
            return None
        found = self.cache.load(self._key(draw), self.sampler.backbone.device)
        return found if ranks.all_of(found is not None) else None

    def _key(self, draw: StepDraw) -> dict[str, Any]:
        key: dict[str, Any] = {
            "prompt": draw.prompt,
            "noise": [list(key) for key in draw.keys],
            "steps": draw.num_steps,
        }
        key |= {"mix": list(draw.mix)} if draw.mix is not None else {}
        drawn = draw.guidance_scale != self.sampler.sampling.guidance_scale
        return key | ({"guidance_scale": draw.guidance_scale} if drawn else {})
