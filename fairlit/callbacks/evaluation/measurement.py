"""Measures the images of every variant of the model, group by group."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from fairlit.data import PromptBatch
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.metrics import AttributeDistribution, SemanticSimilarity
from fairlit.results.run import GroupedFigures, VariantFigures
from fairlit.training import Generated


class VariantMeasurement:
    """Metrics of one variant of the model over the prompts of one target.

    Args:
        target: target distribution of the prompts, classes in the order of the predictions.
        device: device of the metrics.
    """

    def __init__(self, target: TargetDistribution, device: torch.device) -> None:
        self.distribution = AttributeDistribution(target).to(device)
        self.semantics = SemanticSimilarity().to(device)

    def update(self, index: int, generated: Generated, reference: Generated) -> None:
        """Add the images of a prompt.

        Args:
            index: number of the prompt.
            generated: images of the variant.
            reference: images of the unchanged model from the same noise.
        """
        prompt_index = torch.full((len(generated.images),), index, device=generated.images.device)
        faces = generated.observation.faces
        self.distribution.update(prompt_index, generated.observation.probabilities, faces.image_index)
        texts = generated.text_features
        self.semantics.update(
            prompt_index,
            clip=generated.features.get("clip"),
            clip_texts=None if texts is None else texts.expand(len(prompt_index), -1),
            clip_references=reference.features.get("clip"),
            dino=generated.features.get("dino"),
            dino_references=reference.features.get("dino"),
        )

    def compute(self, prompts: Mapping[int, str]) -> VariantFigures:
        """Return the figures of all prompts, with their texts by number; every rank takes part."""
        return VariantFigures(
            similarities=self.semantics.compute(), distribution=self.distribution.compute().named(prompts)
        )


class Measurements:
    """Measurements of every group of prompts and every variant of the model."""

    def __init__(self) -> None:
        self._by_group: dict[str, dict[str, VariantMeasurement]] = {}
        self._prompts: dict[int, str] = {}

    def update(
        self, group: str, batch: PromptBatch, outputs: Mapping[str, Generated], target: TargetDistribution
    ) -> None:
        """Add the images of a prompt.

        Args:
            group: group that the prompt is reported under.
            batch: the prompt.
            outputs: variant of the model -> its images, among them ``original``.
            target: target distribution of the prompt, classes in the order of the predictions.
        """
        measurements = self._by_group.setdefault(group, {})
        for variant, generated in outputs.items():
            if variant not in measurements:
                measurements[variant] = VariantMeasurement(target, generated.images.device)
            measurements[variant].update(batch.index, generated, outputs["original"])
        self._prompts[batch.index] = batch.prompt

    def compute(self) -> GroupedFigures:
        """Return the figures of every group and variant; every rank takes part."""
        return {
            group: {variant: measurement.compute(self._prompts) for variant, measurement in measurements.items()}
            for group, measurements in self._by_group.items()
        }
