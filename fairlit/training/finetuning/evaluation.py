"""Images for validation, test and prediction, and what the judges say of them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from fairlit.data import PromptBatch
from fairlit.diffusion import rollout
from fairlit.diffusion.finiteness import finite_images
from fairlit.errors import NotFiniteError, TrainingError
from fairlit.faces.detection import FaceSelection
from fairlit.faces.observation import observe
from fairlit.io.finiteness import require_finite
from fairlit.perception import ClipEncoder
from fairlit.training.distributed import ranks
from fairlit.training.finetuning.frozen_models import FrozenModels
from fairlit.training.finetuning.generated import Generated
from fairlit.training.finetuning.objective import Objective
from fairlit.training.finetuning.operating_points import OperatingPoint
from fairlit.training.finetuning.sampler import Sampler
from fairlit.training.finetuning.variants import Variants


class Evaluator:
    """Generates images by versions of the model and has the auditing classifier judge them.

    Args:
        models: the models; `audit_classifier` judges.
        sampler: sampler of the adapted model.
        objective: objective, whose encoders describe images.
        faces: faces of an image that count.
    """

    def __init__(self, models: FrozenModels, sampler: Sampler, objective: Objective, *, faces: FaceSelection) -> None:
        self.models, self.sampler, self.objective, self.faces = models, sampler, objective, faces

    @torch.no_grad()
    def generate(
        self, batch: PromptBatch, variants: Variants, name: str, *, at: OperatingPoint | None = None
    ) -> Generated:
        """Return this rank's share of a prompt's images by one version of the model.

        Args:
            batch: prompt and noise keys.
            variants: versions of the model.
            name: name of the version.
            at: guidance scale, strength of the adaptor and solver steps; None: those of the settings.
        """
        at = at or OperatingPoint(self.sampler.sampling.guidance_scale)
        keys, sampler = ranks.share_of_rank(batch.keys), self.sampler
        steps = at.steps or sampler.sampling.evaluation_steps
        chain, noise = sampler.chain(steps, at.guidance_scale), sampler.noise(keys, steps)
        with variants.applied(name), self._strength(at.strength):
            conditioning = sampler.conditioning(batch.prompt, len(keys))
            latents = rollout(chain, noise, conditioning, sampler.sampling.batch_size).latents
        problem, judged = "", None
        try:
            judged = self._judge(latents, batch.prompt)
        except NotFiniteError as error:
            problem = str(error)
        [stop] = ranks.any_rank([bool(problem)], latents.device)  # all ranks stop together
        if stop or judged is None:
            raise TrainingError(f"evaluation of {batch.prompt!r}: {problem or 'another process got NaN or infinity'}")
        return judged

    def _strength(self, strength: float) -> AbstractContextManager[None]:
        return nullcontext() if strength == 1 else self.sampler.adaptor.scaled(strength)

    def _judge(self, latents: Tensor, prompt: str) -> Generated:
        """Decode final latents [N, C, h, w], and look at the images."""
        images = finite_images(self.sampler.backbone, latents, self.sampler.sampling.batch_size)
        observation = observe(images, self.models.detector, self.models.audit_classifier, selection=self.faces)
        features = self.objective.features(images)
        for name, rows in features.items():
            require_finite(rows, f"{name}: features of images")
        clip = self.objective.encoders.get("clip")
        text = None
        if isinstance(clip, ClipEncoder):
            text = require_finite(clip.text_features([prompt]), "clip: features of texts")
        trained_against = None
        if self.models.classifier is not self.models.audit_classifier:
            logits = self.models.classifier.classify(images, observation.faces)
            trained_against = {
                name: require_finite(rows.float().softmax(dim=1), f"classifier: {name}")
                for name, rows in logits.items()
            }
        return Generated(images, observation, features, text, trained_against)
