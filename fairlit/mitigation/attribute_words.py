"""Attribute words in the prompt: every image is asked for by the class that it is to show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor

from fairlit.data.prompts.class_words import PROMPT, WORDS, check_wording, check_words, insert_words, phrases
from fairlit.diffusion import Backbone, Conditioning, rollout
from fairlit.errors import Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.mitigation.class_words import dealt_classes, joint_labels, word_wordings
from fairlit.mitigation.method import Chunk, Method, Need, Sampler, SamplingPlan, Wording


class AttributeWords(Method):
    """Names a class in each prompt, such that the target's shares hold over the images of a prompt.

    Args:
        words: attribute -> class -> what a prompt calls it; a class without a word goes by its name. Of several
            attributes, the words come in the order in which the attributes stand here.
        after: regular expression; the words go behind what it first matches in the prompt, e.g. ``face of an?``.
        template: what to make of a prompt that `after` does not match, with ``{prompt}`` and ``{words}``.
        seed: of the choice of the images that show a class.

    Raises:
        ConfigurationError: an argument is out of range.
    """

    name: ClassVar[str] = "attribute words"
    needs: ClassVar[tuple[Need, ...]] = ("words",)

    def __init__(
        self,
        words: dict[str, dict[str, str]] | None = None,
        after: str | None = None,
        template: str = "{prompt}, {words}",
        *,
        seed: int = 0,
    ) -> None:
        self.words = words or {}
        self.after = after
        self.template = template
        self.seed = seed
        with Problems(self.name) as problems:
            problems.at_least("seed", seed, 0)
            check_wording(after, template, (WORDS, PROMPT), problems=problems)

    def check(self, target: TargetDistribution | None, problems: Problems) -> None:
        """Note words that do not fit the target."""
        check_words(self.words, self.required(target), problems)

    def insert(self, prompt: str, words: str) -> str:
        """The prompt with words for a class."""
        return insert_words(prompt, words, self.after, template=self.template)

    def wordings(self, prompt: str, target: TargetDistribution | None) -> list[Wording]:
        """Return the prompt with the words of each class."""
        return word_wordings(prompt, phrases(self.words, self.required(target)), self.after, template=self.template)

    def dealt_classes(self, chunk: Chunk, target: TargetDistribution | None) -> list[dict[str, str]]:
        """Return the classes that the words of each image name.

        Args:
            chunk: images of one prompt.
            target: distribution whose shares hold over them.
        """
        return dealt_classes(chunk, self.required(target), self.seed)

    @contextmanager
    def prepare(self, backbone: Backbone, plan: SamplingPlan, target: TargetDistribution | None) -> Iterator[Sampler]:
        """Finds the words of every joint class of the target."""
        target = self.required(target)
        with Problems(self.name) as problems:
            self.check(target, problems)
        spoken = phrases(self.words, target)
        chain = plan.chain(backbone)

        @torch.no_grad()
        def sample(chunk: Chunk, noise: Tensor) -> Tensor:
            labels = joint_labels(chunk, target, self.seed)
            # All classes are embedded whatever the chunk holds, so that the padding does not depend on it.
            prompts = backbone.encode(["", *(self.insert(chunk.prompt, words) for words in spoken)])
            conditioning = Conditioning.of_prompts(prompts, 1 + labels)
            return rollout(chain, noise, conditioning, plan.batch_size).latents

        yield sample
