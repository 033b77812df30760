"""Figures as an evaluation writes them."""

from __future__ import annotations

import torch

from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.metrics import AttributeDistribution, SemanticSimilarity
from fairlit.results.run import VariantFigures

ATTRIBUTES = {"gender": {"female": 0.5, "male": 0.5}, "age": {"young": 0.75, "old": 0.25}}


def figures(share: float, attributes: list[str], semantics: bool = True, faces: bool = True) -> VariantFigures:
    """Real figures of two prompts of 20 images, of which `share` are of the first class."""
    target = TargetDistribution({name: ATTRIBUTES.get(name, ATTRIBUTES["gender"]) for name in attributes})
    count = 20 if faces else 0
    first = (torch.arange(count) < share * count).float()[:, None]
    metric, similarity = AttributeDistribution(target, draws=50), SemanticSimilarity(draws=50)
    for prompt in (0, 1):
        prompts = torch.full((20,), prompt)
        rows = torch.cat([0.9 * first + 0.1 * (1 - first), 0.1 * first + 0.9 * (1 - first)], dim=1)
        metric.update(prompts, dict.fromkeys(attributes, rows), torch.arange(count))
        if semantics:
            features = torch.nn.functional.one_hot(prompts, 4).float()
            similarity.update(prompts, clip=features, clip_references=features, clip_texts=features)
        else:
            similarity.update(prompts)
    return VariantFigures(similarities=similarity.compute(), distribution=metric.compute())
