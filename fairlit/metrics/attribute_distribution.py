"""Perceived attributes of generated faces against a target, per prompt and on average."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.metrics.distribution import DistributionStatistics, FaceStates
from fairlit.metrics.states import RecordMetric, joined
from fairlit.results.figures import DistributionFigures


class AttributeDistribution(RecordMetric):
    """Frequencies of arg-max classes, with bias, distances to the target, intervals and noise floors.

    As in Shen et al. (ICLR 2024, arXiv 2311.07604, section 5), figures are computed per prompt and averaged over
    the prompts in which a face was found. Classes are what a classifier perceives, and classifiers err.

    Args:
        target: Distribution to compare with, classes in the order of the predictions' columns.
        confidence: Predictions whose largest probability is below count as unsure, in (0, 1].
        draws: Bootstrap draws for the intervals.
        level: Coverage of the intervals.
        seed: Of the bootstrap.
        **kwargs: For `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> target = TargetDistribution({"gender": {"female": 0.5, "male": 0.5}})
        >>> metric = AttributeDistribution(target)
        >>> female = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.7, 0.3], [0.2, 0.8]])
        >>> metric.update(torch.tensor([0, 0, 0, 0]), {"gender": female})
        >>> result = metric.compute()
        >>> gender = result.attributes["gender"]
        >>> gender.frequencies["female"].value, gender.bias.value, gender.unsure
        (0.75, 0.5, 0.25)
    """

    is_differentiable = False
    full_state_update = False
    # States are flat and of the metric's floating-point type, because that is what torchmetrics gathers from a
    # rank that has seen nothing; all numbers kept here are exact in float32.
    image_prompts: list[Tensor]
    image_found: list[Tensor]
    face_prompts: list[Tensor]
    face_joint_classes: list[Tensor]

    def __init__(
        self,
        target: TargetDistribution,
        *,
        confidence: float = 0.8,
        draws: int = 2000,
        level: float = 0.95,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.statistics = DistributionStatistics(
            target=target, confidence=confidence, draws=draws, level=level, seed=seed
        )
        for state in ("image_prompts", "image_found", "face_prompts", "face_joint_classes"):
            self.add_state(state, [], dist_reduce_fx="cat")
        for index in range(len(target.attributes)):
            self.add_state(f"face_confidence_{index}", [], dist_reduce_fx="cat")

    def update(
        self, prompt_index: Tensor, predictions: Mapping[str, Tensor], image_index: Tensor | None = None
    ) -> None:
        """Add the images of a batch and the faces found in them.

        Args:
            prompt_index: int64 [N], which prompt each image was made for.
            predictions: Attribute -> probabilities [F, K] of the F faces. Attributes that the target does not
                mention are ignored.
            image_index: int64 [F], the image each face was found in; images that no face refers to count as
                without a face. None: face i is that of image i, so F = N.

        Raises:
            ConfigurationError: Attributes, classes or numbers of faces do not fit each other.
        """
        states = self.statistics.states(prompt_index.to(self.device), predictions, image_index)
        self.image_prompts.append(states.image_prompts)
        self.image_found.append(states.image_found)
        self.face_prompts.append(states.face_prompts)
        self.face_joint_classes.append(states.face_joint_classes)
        for index, confidence in enumerate(states.face_confidence):
            getattr(self, f"face_confidence_{index}").append(confidence)

    def compute(self) -> DistributionFigures:
        """Return the figures over everything seen, see `DistributionStatistics.figures`."""
        attributes = range(len(self.statistics.target.attributes))
        return self.statistics.figures(
            FaceStates(
                joined(self.image_prompts),
                joined(self.image_found),
                joined(self.face_prompts),
                joined(self.face_joint_classes),
                [joined(getattr(self, f"face_confidence_{index}")) for index in attributes],
            )
        )
