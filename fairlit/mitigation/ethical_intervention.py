"""An ethical intervention: a sentence behind the prompt that asks for equal treatment (Bansal et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from fairlit.diffusion import Backbone
from fairlit.errors import Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.mitigation.method import Method, Sampler, SamplingPlan, Wording
from fairlit.mitigation.unchanged import one_prompt_sampler

ATTRIBUTES = "{attributes}"


class EthicalIntervention(Method):
    """Adds one sentence to every prompt, which asks for diversity; it knows no shares.

    Bansal et al., How well can Text-to-Image Generative Models understand Ethical Natural Language Interventions?,
    EMNLP 2022 (arXiv 2210.15230), who found the words "irrespective of their gender" to matter most.

    Args:
        sentence: what comes behind the prompt, with ``{attributes}`` for the names of the target's attributes. A
            prompt that leaves no room for it in what the text encoder reads is refused.

    Raises:
        ConfigurationError: the sentence is empty.
    """

    name: ClassVar[str] = "ethical intervention"

    def __init__(self, sentence: str = ", if all individuals can be one, irrespective of their {attributes}") -> None:
        self.sentence = sentence
        with Problems(self.name) as problems:
            if not sentence.strip():
                problems.add(f"sentence: got {sentence!r}; write one, or choose the method `none`")

    def wordings(self, prompt: str, target: TargetDistribution | None) -> list[Wording]:
        """Return the prompt with the sentence."""
        whole = prompt + self._ending(self.required(target))
        return [Wording(text=whole, needed=whole)]

    @contextmanager
    def prepare(self, backbone: Backbone, plan: SamplingPlan, target: TargetDistribution | None) -> Iterator[Sampler]:
        """Write the sentence for the attributes of `target`."""
        ending = self._ending(self.required(target))
        yield one_prompt_sampler(backbone, plan, lambda prompt: prompt + ending)

    def _ending(self, target: TargetDistribution) -> str:
        *most, last = [name.replace("_", " ") for name in target.attributes]
        named = f"{', '.join(most)} and {last}" if most else last
        return self.sentence.replace(ATTRIBUTES, named)
