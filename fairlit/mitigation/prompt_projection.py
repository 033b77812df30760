"""debiasVL: the prompt's embedding with an attribute projected out (Chuang et al. 2023)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from fairlit.data.prompts.class_words import check_words, words_by_attribute
from fairlit.diffusion import Backbone, Conditioning, rollout
from fairlit.errors import Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.model_editing.debiasing_projection import debiasing_projection
from fairlit.mitigation.method import Chunk, Method, Need, Sampler, SamplingPlan, Wording

WORD = "{word}"


class PromptProjection(Method):
    """Applies one calibrated projection to every token of the prompt's embedding.

    Directions are embeddings at the end of the text, scaled to unit length. The method knows no shares: it takes the
    attributes of the target out of the prompt, whatever the model then makes of it.

    Args:
        words: attribute -> class -> what a prompt calls it; a class without a word goes by its name.
        template: prompt whose embeddings with each of the words in the place of ``{word}`` are projected out.
        pair_templates: prompts with ``{word}`` whose embeddings with different words of an attribute are brought
            together, e.g. ``a photo of a {word} doctor``, of as many subjects as possible.
        strength: weight of the pairs (the paper's lambda); 0 takes the embeddings of `template` out alone.
        centred: project out the differences of these embeddings and not, as published, the embeddings themselves,
            which takes what they have in common out of every prompt.

    Raises:
        ConfigurationError: an argument is out of range.
    """

    name: ClassVar[str] = "debiasVL"
    needs: ClassVar[tuple[Need, ...]] = ("words",)
    needs_one_text_encoder: ClassVar[bool] = True

    def __init__(
        self,
        words: dict[str, dict[str, str]] | None = None,
        template: str = "a photo of a {word} person",
        pair_templates: Sequence[str] = (),
        *,
        strength: float = 500.0,
        centred: bool = False,
    ) -> None:
        self.words = words or {}
        self.template = template
        self.pair_templates = list(pair_templates)
        self.strength = strength
        self.centred = centred
        with Problems(self.name) as problems:
            for written in (template, *self.pair_templates):
                if WORD not in written:
                    problems.add(f"template: {written!r} lacks its placeholder {WORD}; put it in")
            problems.at_least("strength", strength, 0)

    def check(self, target: TargetDistribution | None, problems: Problems) -> None:
        """Note words that do not fit the target."""
        check_words(self.words, self.required(target), problems)

    def wordings(self, prompt: str, target: TargetDistribution | None) -> list[Wording]:
        """Return the prompt and the texts whose embeddings are projected out."""
        templates = (self.template, *self.pair_templates)
        words = itertools.chain(*words_by_attribute(self.words, self.required(target)))
        texts = [template.replace(WORD, word) for template, word in itertools.product(templates, words)]
        return [Wording(text=prompt), *(Wording(text=text, needed=text) for text in texts)]

    @contextmanager
    def prepare(self, backbone: Backbone, plan: SamplingPlan, target: TargetDistribution | None) -> Iterator[Sampler]:
        """Computes the projection for the attributes of `target`."""
        target = self.required(target)
        with Problems(self.name) as problems:
            self.check(target, problems)
        chain = plan.chain(backbone)
        projection = self.projection(backbone, target)

        @torch.no_grad()
        def sample(chunk: Chunk, noise: Tensor) -> Tensor:
            prompts = backbone.encode(["", chunk.prompt])
            empty, prompt = prompts["prompt_embeds"]
            projected = torch.stack([empty, prompt @ projection.T.to(prompt)])
            conditioning = Conditioning.of_one_prompt({**prompts, "prompt_embeds": projected}, len(noise))
            return rollout(chain, noise, conditioning, plan.batch_size).latents

        yield sample

    def projection(self, backbone: Backbone, target: TargetDistribution) -> Tensor:
        """The matrix for a model and the attributes of `target`, float64 [D, D]."""
        spurious, pairs = [], []
        for words in words_by_attribute(self.words, target):
            rows = _embed(backbone, self.template, words)
            spurious.append(rows - rows.mean(0) if self.centred else rows)
            for template in self.pair_templates:
                rows = _embed(backbone, template, words)
                pairs += [rows[one] - rows[other] for one, other in itertools.combinations(range(len(words)), 2)]
        differences = torch.stack(pairs) if pairs else spurious[0][:0]
        return debiasing_projection(torch.cat(spurious), differences, self.strength)


@torch.no_grad()
def _embed(backbone: Backbone, template: str, words: Sequence[str]) -> Tensor:
    """Embeddings of a template with each of K words, of unit length, float64 [K, D]."""
    tokens = backbone.tokenizer(
        [template.replace(WORD, word) for word in words],
        padding="max_length",
        max_length=backbone.tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    at_the_end = backbone.text_encoder(tokens.input_ids.to(backbone.device))[1]
    return normalize(at_the_end.double(), dim=1)
