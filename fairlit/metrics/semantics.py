"""Whether images still show what the prompt asks for, and what the unchanged model showed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fairlit.errors import ConfigurationError
from fairlit.functional.statistics.bootstrap import cluster_bootstrap_mean
from fairlit.metrics.states import RecordMetric, joined
from fairlit.results.figures import SimilarityFigures
from fairlit.results.record import Estimate

_FIGURES = ("clip_t", "clip_i", "dino")


class SemanticSimilarity(RecordMetric):
    """Cosine similarities CLIP-T, CLIP-I and DINO, per prompt and then averaged over prompts.

    CLIP-T compares an image with its prompt; CLIP-I and DINO compare it with the reference image, the unchanged
    model's for the same prompt and noise. To judge CLIP-I there is `clip_i_swapped`: what it would be if every image
    were replaced by a reference image of another prompt.

    Args:
        draws: Bootstrap draws for the intervals.
        level: Coverage of the intervals.
        seed: Of the bootstrap.
        **kwargs: For `torchmetrics.Metric`.

    Example:
        >>> metric = SemanticSimilarity()
        >>> references = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> metric.update(torch.tensor([0, 1]), clip=references, clip_references=references)
        >>> result = metric.compute()
        >>> result.clip_i.value, result.clip_i_swapped
        (1.0, 0.0)
    """

    is_differentiable = False
    full_state_update = False
    # Flat and of the metric's floating-point type, because that is what torchmetrics gathers from a rank that has
    # seen nothing. NaN stands for a similarity that was not asked for.
    prompts: list[Tensor]
    reference_prompts: list[Tensor]
    reference_features: list[Tensor]

    def __init__(self, *, draws: int = 1000, level: float = 0.95, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.draws = draws
        self.level = level
        self.seed = seed
        for state in ("prompts", "reference_prompts", "reference_features", *_FIGURES):
            self.add_state(state, [], dist_reduce_fx="cat")

    def update(
        self,
        prompt_index: Tensor,
        *,
        clip: Tensor | None = None,
        clip_texts: Tensor | None = None,
        clip_references: Tensor | None = None,
        dino: Tensor | None = None,
        dino_references: Tensor | None = None,
    ) -> None:
        """Add images by their features; those of any length are normalised.

        Args:
            prompt_index: int64 [N], which prompt each image was made for.
            clip: CLIP features of the images, [N, D].
            clip_texts: CLIP features of their prompts, [N, D]; with `clip` they give CLIP-T.
            clip_references: CLIP features of the reference images, [N, D]; with `clip` they give CLIP-I.
            dino: DINO features of the images, [N, E].
            dino_references: DINO features of the reference images, [N, E].

        Raises:
            ConfigurationError: Features come in different shapes or not one row per image.
        """
        prompt_index = prompt_index.to(self.device)
        given = {
            "clip_t": (clip, clip_texts),
            "clip_i": (clip, clip_references),
            "dino": (dino, dino_references),
        }
        for name, pair in given.items():
            getattr(self, name).append(_cosines(name, prompt_index, *pair))
        self.prompts.append(prompt_index.float())
        if clip_references is not None:
            self.reference_prompts.append(prompt_index.float())
            self.reference_features.append(_unit(clip_references).flatten().to(self.device))

    def compute(self) -> SimilarityFigures:
        """Return the means over everything seen, with intervals (prompts, then images); None for what was not given.

        `clip_i_swapped` takes CLIP features of reference images of at least two prompts.
        """
        prompts = joined(self.prompts).long()
        found: dict[str, Estimate] = {}
        for name in _FIGURES:
            values = joined(getattr(self, name))
            groups = [values[(prompts == prompt) & ~values.isnan()] for prompt in prompts.unique()]
            groups = [group for group in groups if len(group)]
            if groups:
                mean = float(torch.stack([group.double().mean() for group in groups]).mean())
                bounds = cluster_bootstrap_mean(groups, draws=self.draws, level=self.level, seed=self.seed, reach=1.0)
                found[name] = Estimate(mean, *bounds)
        reference_prompts = joined(self.reference_prompts).long()
        swapped = None
        if len(reference_prompts.unique()) > 1:
            features = joined(self.reference_features).view(len(reference_prompts), -1)
            swapped = swapped_similarity(features, reference_prompts)
        return SimilarityFigures(
            clip_t=found.get("clip_t"),
            clip_i=found.get("clip_i"),
            dino=found.get("dino"),
            clip_i_swapped=swapped,
            images=len(prompts),
            prompts=len(prompts.unique()),
        )


def swapped_similarity(features: Tensor, prompt_index: Tensor) -> float:
    """Return the mean cosine similarity of two images of different prompts.

    Args:
        features: [N, D], normalised here.
        prompt_index: int64 [N], at least two different ones. Every pair of prompts has the same weight.

    Returns:
        Mean over all pairs of prompts of the mean over all pairs of their images.

    Raises:
        ConfigurationError: There are fewer than two prompts.

    Example:
        >>> round(swapped_similarity(torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), torch.tensor([0, 0, 5])), 4)
        0.7071
    """
    unit = _unit(features).double()
    groups = [unit[prompt_index == prompt].mean(dim=0) for prompt in prompt_index.unique()]
    if len(groups) < 2:
        raise ConfigurationError(
            f"prompt_index names {len(groups)} prompt(s), swapping needs at least two: give images of others too"
        )
    means = torch.stack(groups)
    similarities = means @ means.T
    others = ~torch.eye(len(means), dtype=torch.bool, device=means.device)
    return float(similarities[others].mean())


def _cosines(name: str, prompt_index: Tensor, first: Tensor | None, second: Tensor | None) -> Tensor:
    """Row-wise cosine similarities [N], or NaN where one side is not given."""
    if first is None or second is None:
        return torch.full((len(prompt_index),), torch.nan, device=prompt_index.device)
    if first.ndim != 2 or first.shape != second.shape or len(first) != len(prompt_index):
        raise ConfigurationError(
            f"features for {name} have shapes {tuple(first.shape)} and {tuple(second.shape)} for {len(prompt_index)} "
            "images: give one row per image on both sides"
        )
    return (_unit(first) * _unit(second)).sum(dim=1).to(prompt_index.device)


def _unit(features: Tensor) -> Tensor:
    return torch.nn.functional.normalize(features.detach().float(), dim=-1)
