"""Prompts that name a class, such as "a male nurse": those who ask for one must go on getting one."""

from __future__ import annotations

from dataclasses import dataclass, field

from fairlit.data.prompts.class_words import PROMPT, WORDS, check_wording, check_words, class_word, insert_words
from fairlit.data.prompts.families import Prompt
from fairlit.errors import Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution


@dataclass(frozen=True)
class ClassNaming:
    """Prompts with a word for a class, made of those of the run.

    Their target is the run's, given that class: of one attribute, all faces are to be of the class named. In training,
    the alignment loss then keeps faces there, and images that show the class already are preserved as a whole.

    Attributes:
        share: share of the training steps whose prompt names a class, drawn evenly from the attributes and then from
            the classes that have a share in the target.
        test_images: number of images of each test prompt with each class named, over all ranks, whose share of faces
            perceived as named `fairlit test` tells, before and after; 0: not tested.
        words: attribute -> class -> what a prompt calls it; a class without a word goes by its name.
        after: regular expression; the word goes behind what it first matches in the prompt, e.g. ``face of an?``.
        template: what to make of a prompt that `after` does not match, with ``{prompt}`` and ``{words}``.
    """

    share: float = 0.0
    test_images: int = 0
    words: dict[str, dict[str, str]] = field(default_factory=dict)
    after: str | None = None
    template: str = "{prompt}, {words}"

    def __post_init__(self) -> None:
        with Problems("naming") as problems:
            if not 0 <= self.share <= 1:
                problems.add(f"share: got {self.share}; expected a share from 0 to 1; give 0.1, say")
            problems.at_least("test_images", self.test_images, 0)
            check_wording(self.after, self.template, (WORDS, PROMPT), problems=problems)

    def check(self, target: TargetDistribution, problems: Problems) -> None:
        """Note words that do not fit a target."""
        with problems.collecting(), Problems("naming") as own:
            check_words(self.words, target, own)

    def name(self, prompt: Prompt, target: TargetDistribution, attribute: str, label: str) -> Prompt:
        """Return a prompt with one class named, in the family of all prompts that name it.

        Args:
            prompt: prompt without the word.
            target: target distribution of its images.
            attribute: attribute that is named.
            label: its class.

        Example:
            >>> target = TargetDistribution({"gender": {"female": 0.5, "male": 0.5}})
            >>> prompt = Prompt("a photo of a nurse", "occupations")
            >>> named = ClassNaming(after="photo of an?").name(prompt, target, "gender", "male")
            >>> named.text, named.family, named.target.marginals
            ('a photo of a male nurse', 'named_gender_male', {'gender': {'female': 0.0, 'male': 1.0}})
        """
        word = class_word(self.words, attribute, label)
        text = insert_words(prompt.text, word, self.after, template=self.template)
        return Prompt(text, f"named_{attribute}_{label}", target.given(attribute, label), prompt.num_people)


def named_classes(target: TargetDistribution) -> dict[str, list[str]]:
    """Return attribute -> the classes that have a share in a target, which prompts may name."""
    return {
        attribute: [name for name, share in shares.items() if share > 0]
        for attribute, shares in target.marginals.items()
    }
