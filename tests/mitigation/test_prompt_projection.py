"""debiasVL on a model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from closeness import close
from torch import Tensor

from fairlit.diffusion import Backbone
from fairlit.errors import ConfigurationError
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.mitigation import NoMitigation, PromptProjection

Run = Callable[..., Tensor]


@torch.no_grad()
def at_the_end(backbone: Backbone, prompt: str) -> Tensor:
    """The text encoder's last state at the end of a text, found by its place."""
    tokens = backbone.tokenizer(prompt).input_ids
    return backbone.text_encoder(torch.tensor([tokens]))[0][0, len(tokens) - 1].double()


def test_words_make_no_difference_after_it(backbone: Backbone, target: TargetDistribution) -> None:
    template, pair = "a photo of a {word} person", "a photo of a {word} doctor"
    projection = PromptProjection(template=template).projection(backbone, target)
    rows = torch.stack([at_the_end(backbone, template.format(word=word)) for word in ("woman", "man")])
    assert (rows @ projection.T).norm(dim=1).max() < 1e-6 * rows.norm(dim=1).min()
    projection = PromptProjection(template=template, pair_templates=[pair], strength=1e9).projection(backbone, target)
    paired = [at_the_end(backbone, pair.format(word=word)) for word in ("woman", "man")]
    difference = paired[0] / paired[0].norm() - paired[1] / paired[1].norm()
    assert (projection @ difference).norm() < 1e-4 * difference.norm()
    centred = PromptProjection(template=template, centred=True).projection(backbone, target)
    assert torch.linalg.matrix_rank(centred) == projection.shape[0] - 1


def test_samples_with_the_projected_prompt(run: Run) -> None:
    method = PromptProjection(centred=True)
    latents = run(method)
    assert close(run(method, chunk=1), latents)
    assert not close(latents, run(NoMitigation()), 2e-4)


def test_refuses_nonsense() -> None:
    with pytest.raises(ConfigurationError, match=r"(?s)2 problems.*lacks its placeholder.*strength: got -1"):
        PromptProjection(template="a person", strength=-1.0)
