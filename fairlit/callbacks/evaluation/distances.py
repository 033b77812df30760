"""Takes the distance that remains after finetuning apart, prompt by prompt."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from fairlit.data import PromptBatch
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.statistics.distance_parts import distance_parts
from fairlit.metrics import AttributeDistribution
from fairlit.results.distances import PromptDistance
from fairlit.results.figures import DistributionFigures
from fairlit.results.record import Estimate
from fairlit.training import Generated


class DistanceMeasurement:
    """What the classifier that was trained against sees in the images of the finetuned model.

    Args:
        target: target distribution of the prompts, classes in that classifier's order.
        device: device of the metrics.
    """

    def __init__(self, target: TargetDistribution, device: torch.device) -> None:
        self._usual, self._at_training_steps = (AttributeDistribution(target).to(device) for _ in range(2))
        self._has_steps = False

    def update(self, batch: PromptBatch, usual: Generated, at_training_steps: Generated | None) -> None:
        """Add the images of a prompt.

        Args:
            batch: the prompt.
            usual: images of as many solver steps as evaluation takes.
            at_training_steps: images of as many as training takes, from the same noise; None: not made.
        """
        _add(self._usual, batch, usual)
        if at_training_steps is not None:
            self._has_steps = True
            _add(self._at_training_steps, batch, at_training_steps)

    def compute(self, judged: DistributionFigures) -> tuple[PromptDistance, ...]:
        """Return the parts of the distance of every prompt with faces, attribute by attribute; every rank calls it.

        Args:
            judged: what the auditing classifier sees in the images of `usual`.
        """
        seen = {prompt.number: prompt for prompt in self._usual.compute().per_prompt}
        fewer = {prompt.number: prompt for prompt in self._at_training_steps.compute().per_prompt}
        rows = []
        for prompt in judged.per_prompt:
            at_steps = fewer.get(prompt.number) if self._has_steps else None
            for attribute, figures in prompt.attributes.items():
                target = judged.attributes[attribute].target
                if prompt.faces == 0 or (self._has_steps and (at_steps is None or at_steps.faces == 0)):
                    continue
                parts = distance_parts(
                    list(target.values()),
                    _shares(figures.frequencies, target),
                    _shares(seen[prompt.number].attributes[attribute].frequencies, target),
                    faces=prompt.faces,
                    at_training_steps=None
                    if at_steps is None
                    else _shares(at_steps.attributes[attribute].frequencies, target),
                )
                rows.append(
                    PromptDistance(
                        prompt=prompt.prompt,
                        attribute=attribute,
                        faces=prompt.faces,
                        distance=parts.distance,
                        chance=parts.chance,
                        classifiers=parts.classifiers,
                        solver_steps=parts.solver_steps if self._has_steps else None,
                        model=parts.model,
                    )
                )
        return tuple(rows)


def _add(metric: AttributeDistribution, batch: PromptBatch, generated: Generated) -> None:
    assert generated.trained_against is not None
    prompt_index = torch.full((len(generated.images),), batch.index, device=generated.images.device)
    metric.update(prompt_index, generated.trained_against, generated.observation.faces.image_index)


def _shares(frequencies: Mapping[str, Estimate], target: Mapping[str, float]) -> list[float]:
    """Shares in the order of the target's classes: two classifiers may order them differently."""
    return [frequencies[label].value for label in target]
