from __future__ import annotations

import json
import math

import pytest
import torch
from torch.nn.functional import cosine_similarity

from fairlit.errors import ConfigurationError
from fairlit.metrics import SemanticSimilarity, to_jsonable
from fairlit.metrics.semantics import swapped_similarity

PROMPTS = torch.tensor([0, 0, 0, 4])


def features(seed: int, width: int = 5) -> torch.Tensor:
    return torch.randn(4, width, generator=torch.Generator().manual_seed(seed))


def test_prompts_have_equal_weight() -> None:
    metric = SemanticSimilarity(draws=100)
    clip, texts, originals, dino, dino_references = (features(seed) for seed in range(5))
    metric.update(
        PROMPTS[:1], clip=clip[:1], clip_texts=texts[:1], clip_references=originals[:1], dino=dino[:1],
        dino_references=dino_references[:1],
    )  # fmt: skip
    metric.update(
        PROMPTS[1:], clip=clip[1:], clip_texts=texts[1:], clip_references=originals[1:], dino=dino[1:],
        dino_references=dino_references[1:],
    )  # fmt: skip
    result = metric.compute()
    for name, first, second in (("clip_t", clip, texts), ("clip_i", clip, originals), ("dino", dino, dino_references)):
        similarity = cosine_similarity(first, second)
        found = result.measured[name]
        assert found.value == pytest.approx(float((similarity[:3].mean() + similarity[3]) / 2), abs=1e-6)
        assert found.low <= found.value <= found.high
    assert (result.images, result.prompts) == (4, 2)


def test_intervals_of_few_prompts_stay_within_the_range_of_cosines() -> None:
    """Images of one prompt are as it says, those of the other are the contrary."""
    metric = SemanticSimilarity()
    metric.update(PROMPTS, clip=torch.eye(4), clip_texts=torch.tensor([1.0, 1, 1, -1]).diag())
    found = metric.compute().measured["clip_t"]
    assert (found.value, found.low, found.high) == (0.0, -1.0, 1.0)
    single = SemanticSimilarity()
    single.update(PROMPTS[:1], clip=torch.ones(1, 4), clip_texts=torch.ones(1, 4))
    assert single.compute().measured["clip_t"].value == pytest.approx(1.0)
    assert math.isnan(single.compute().measured["clip_t"].low)


def test_swapping_takes_originals_of_other_prompts() -> None:
    originals = features(7)
    expected = cosine_similarity(originals[:3], originals[3:].expand(3, -1)).mean()
    assert swapped_similarity(originals, PROMPTS) == pytest.approx(float(expected), abs=1e-6)
    metric = SemanticSimilarity(draws=10)
    metric.update(PROMPTS, clip=features(8), clip_references=originals)
    assert metric.compute().clip_i_swapped == pytest.approx(float(expected), abs=1e-6)
    with pytest.raises(ConfigurationError, match="at least two"):
        swapped_similarity(originals, torch.zeros(4))


def test_only_what_was_given_is_reported() -> None:
    metric = SemanticSimilarity(draws=10)
    metric.update(PROMPTS, clip=features(0), clip_texts=features(1))
    metric.update(torch.tensor([9]), dino=features(0)[:1], dino_references=features(0)[:1])
    result = metric.compute()
    assert set(result.measured) == {"clip_t", "dino"}
    assert result.clip_i_swapped is None
    assert result.measured["dino"].value == pytest.approx(1.0)
    assert (result.images, result.prompts) == (5, 3)


def test_features_that_do_not_match_are_refused() -> None:
    metric = SemanticSimilarity()
    with pytest.raises(ConfigurationError, match="clip_i have shapes"):
        metric.update(PROMPTS, clip=features(0), clip_references=features(0, width=6))
    with pytest.raises(ConfigurationError, match="for 4 images"):
        metric.update(PROMPTS, dino=features(0)[:3], dino_references=features(0)[:3])


def test_results_are_json() -> None:
    nested = {"a": (1.5, math.inf), 2: torch.tensor([1.0, math.nan]), "b": [True, None, "x"], "path": json}
    expected = {"a": [1.5, None], "2": [1.0, None], "b": [True, None, "x"], "path": str(json)}
    assert json.loads(json.dumps(to_jsonable(nested), allow_nan=False)) == expected
