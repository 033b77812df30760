"""Whether images still show what the prompt asks for, and what the original model showed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from fairlit.errors import ConfigurationError
from fairlit.functional.statistics.bootstrap import cluster_bootstrap_mean
from fairlit.metrics.states import joined

_FIGURES = ("clip_t", "clip_i", "dino")


class SemanticSimilarity(Metric):
    """Cosine similarities CLIP-T, CLIP-I and DINO, per prompt and then averaged over prompts.

    CLIP-T compares an image with its prompt; CLIP-I and DINO compare it with the original model's image for the
    same prompt and noise. To judge CLIP-I there is `clip_i_swapped`: what it would be if every image were replaced
    by an original image of another prompt.

    Args:
        draws: Bootstrap draws for the intervals.
        level: Coverage of the intervals.
        seed: Of the bootstrap.
        **kwargs: For `torchmetrics.Metric`.

    Example:
        >>> metric = SemanticSimilarity()
        >>> originals = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> metric.update(torch.tensor([0, 1]), clip=originals, clip_originals=originals)
        >>> result = metric.compute()
        >>> result["clip_i"], result["clip_i_swapped"]
        (1.0, 0.0)
    """

    is_differentiable = False
    full_state_update = False
    # Flat and of the metric's floating-point type, because that is what torchmetrics gathers from a rank that has
    # seen nothing. NaN stands for a similarity that was not asked for.
    prompts: list[Tensor]
    original_prompts: list[Tensor]
    original_features: list[Tensor]

    def __init__(self, *, draws: int = 1000, level: float = 0.95, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.draws = draws
        self.level = level
        self.seed = seed
        for state in ("prompts", "original_prompts", "original_features", *_FIGURES):
            self.add_state(state, [], dist_reduce_fx="cat")

    def update(
        self,
        prompt_index: Tensor,
        *,
        clip: Tensor | None = None,
        clip_texts: Tensor | None = None,
        clip_originals: Tensor | None = None,
        dino: Tensor | None = None,
        dino_originals: Tensor | None = None,
    ) -> None:
        """Adds images by their features; those of any length are normalised.

        Args:
            prompt_index: int64 [N], which prompt each image was made for.
            clip: CLIP features of the images, [N, D].
            clip_texts: CLIP features of their prompts, [N, D]; with `clip` they give CLIP-T.
            clip_originals: CLIP features of the original images, [N, D]; with `clip` they give CLIP-I.
            dino: DINO features of the images, [N, E].
            dino_originals: DINO features of the original images, [N, E].

        Raises:
            ConfigurationError: Features come in different shapes or not one row per image.
        """
        prompt_index = prompt_index.to(self.device)
        given = {
            "clip_t": (clip, clip_texts),
            "clip_i": (clip, clip_originals),
            "dino": (dino, dino_originals),
        }
        for name, pair in given.items():
            getattr(self, name).append(_cosines(name, prompt_index, *pair))
        self.prompts.append(prompt_index.float())
        if clip_originals is not None:
            self.original_prompts.append(prompt_index.float())
            self.original_features.append(_unit(clip_originals).flatten().to(self.device))

    def compute(self) -> dict[str, Any]:
        """Figures over everything seen.

        Returns:
            For each of `clip_t`, `clip_i` and `dino` that was given: its mean and, under `<name>_ci`, its interval
            (prompts, then images); `clip_i_swapped` if there were CLIP features of originals of at least two
            prompts; `images` and `prompts`.
        """
        prompts = joined(self.prompts).long()
        result: dict[str, Any] = {}
        for name in _FIGURES:
            values = joined(getattr(self, name))
            groups = [values[(prompts == prompt) & ~values.isnan()] for prompt in prompts.unique()]
            groups = [group for group in groups if len(group)]
            if groups:
                result[name] = float(torch.stack([group.double().mean() for group in groups]).mean())
                result[f"{name}_ci"] = cluster_bootstrap_mean(
                    groups, draws=self.draws, level=self.level, seed=self.seed
                )
        original_prompts = joined(self.original_prompts).long()
        if len(original_prompts.unique()) > 1:
            features = joined(self.original_features).view(len(original_prompts), -1)
            result["clip_i_swapped"] = swapped_similarity(features, original_prompts)
        return result | {"images": len(prompts), "prompts": len(prompts.unique())}


def swapped_similarity(features: Tensor, prompt_index: Tensor) -> float:
    """Mean cosine similarity of two images of different prompts.

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
        raise ConfigurationError(f"prompt_index names {len(groups)} prompt(s), swapping needs at least two")
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
