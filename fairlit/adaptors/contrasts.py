"""Contrasts: the directions in which a model's inner states differ between the classes of an attribute.

A low-rank update ``B A`` moves a prompt by what A reads of it. A random A reads mostly which prompt it is, so that a
finetuning on few prompts may learn each of them by heart and carry little over to others. Rows of A along the contrast
of "a female person" with "a male person" read what prompts have in common instead.

A row a along a contrast reads a . x, and balanced prompts do not lie at 0: with m the mean of x over the contrast's
words, a . x = a . (x - m) + a . m, so what is learnt of one-sided prompts moves all prompts by a . m besides, balanced
ones too. Centred rows start without their part along m. Then a . x = a . (x - m): the update vanishes at the point of
balance, and an update -k b a contracts prompts towards it, the more one-sided the more, instead of shifting them. That
needs no bias term, for which files of LoRA for other programs have no place. It holds of the tokens from the word on,
over which m is a mean.

Words leave a longer trace along their contrast than prompts that lean to a class without naming it. An update that
takes the leaning away then takes the words' meaning away, too: "a male nurse" is no longer one. Rows along the contrast
of *groups* of prompts that lean, such as nurses and secretaries against plumbers and pilots, without the part that
words span (`without`), read how far a prompt leans and nothing of words.

Centring the classifier's logits in the loss would not do the same. Subtracting a batch's mean takes out the border
between the classes, and with it the bias: where all faces of a prompt are men's, half of them would count as women's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fairlit.adaptors.base import Components
from fairlit.diffusion.families.family import Family
from fairlit.diffusion.families.lookup import family_of
from fairlit.errors import Problems

PLACEHOLDER = "{word}"


@dataclass(frozen=True)
class Contrast:
    """Prompts that differ in the words for the classes of one attribute and in nothing else.

    Attributes:
        words: one for each class, e.g. ``[female, male]``; K of them span K - 1 directions. Several words in the place
            of one stand for a class together.
        templates: prompts with ``{word}`` in the place of the word; over several, directions are averaged.
        parameter: setting that it comes from, begins messages.
    """

    words: Sequence[str | Sequence[str]]
    templates: Sequence[str]
    parameter: str = "contrasts"

    @property
    def groups(self) -> list[list[str]]:
        """The words of each class."""
        return [[group] if isinstance(group, str) else list(group) for group in self.words]

    @property
    def all_words(self) -> list[str]:
        """The words of all classes, one class after the other."""
        return [word for group in self.groups for word in group]

    def check(self, problems: Problems) -> None:
        """Note too few or equal words."""
        words = self.all_words
        if len(set(words)) < len(words) or len(self.groups) < 2 or not all(self.groups):
            problems.add(f"{self.parameter}: words are {list(self.words)}; give at least two, each once")

    def check_tokens(self, tokenizer: Any, problems: Problems) -> None:
        """Note words that are the same to the tokenizer, or are cut off with the end of a template."""
        for template in self.templates:
            known: dict[tuple[int, ...], str] = {}
            for word, ids in zip(self.all_words, self.tokens(template, tokenizer), strict=True):
                other = known.setdefault(tuple(ids), word)
                if other != word:
                    problems.add(
                        f"{self.parameter}: in {template!r} {other!r} and {word!r} are the same to the tokenizer; "
                        "take other words or a shorter template"
                    )

    def tokens(self, template: str, tokenizer: Any) -> list[list[int]]:
        """Return the token ids of a template with each of the words, from start to end, without padding."""
        prompts = [template.replace(PLACEHOLDER, word) for word in self.all_words]
        return [
            list(ids) for ids in tokenizer(prompts, truncation=True, max_length=tokenizer.model_max_length).input_ids
        ]

    @property
    def rank(self) -> int:
        """Number of directions that the words span."""
        return len(self.words) - 1


def check_templates(templates: Sequence[str], problems: Problems) -> None:
    """Note a want of templates, and templates without their placeholder."""
    if not templates:
        problems.add("contrast_templates: there are contrasts but no templates; give at least one")
    for template in templates:
        if PLACEHOLDER not in template:
            problems.add(f"contrast_templates: {template!r} lacks its placeholder {PLACEHOLDER}; put it in")


@torch.no_grad()
def contrast_directions(
    contrast: Contrast,
    components: Components,
    inside: Mapping[str, nn.Module],
    *,
    after: Sequence[str],
    centred: bool = False,
    without: Sequence[Contrast] = (),
) -> dict[str, Tensor]:
    """Return orthonormal directions that tell a contrast's words apart in the inputs of layers.

    Inputs are averaged over the tokens from the word to the end of the prompt, over the words of a class and over
    templates, centred over the classes, and decomposed into singular vectors, the strongest first; each is signed such
    that its largest component is positive.

    Args:
        contrast: words and templates.
        components: the model; its adaptor must be one that changes nothing yet.
        inside: name -> layer of a text encoder.
        after: names of layers that are given what the text encoders make of the prompt.
        centred: whether directions are orthogonal to the mean input over words and templates, the point of balance.
        without: contrasts whose directions they are orthogonal to.

    Returns:
        name -> float32 [K - 1, inputs of the layer], on the CPU.
    """
    means = _class_means(contrast, components, inside, after=after)
    others = [contrast_directions(other, components, inside, after=after) for other in without]
    directions = {}
    for name, rows in means.items():
        mean = rows.mean(dim=0)
        removed = [other[name] for other in others] + ([mean[None]] if centred else [])
        rows = rows - mean
        if removed:
            basis = torch.linalg.qr(torch.cat(removed).T).Q
            rows = rows - rows @ basis @ basis.T
        directions[name] = _principal(rows, contrast.rank)
    return directions


def _class_means(
    contrast: Contrast, components: Components, inside: Mapping[str, nn.Module], *, after: Sequence[str]
) -> dict[str, Tensor]:
    """Return the mean input of every layer for each class of a contrast, [K, inputs of the layer]."""
    family, totals = family_of(components), dict[str, Tensor]()
    for template in contrast.templates:
        read = {
            encoder: contrast.tokens(template, getattr(components, tokenizer))
            for encoder, tokenizer in family.tokenizers.items()
        }
        start, number = min(map(_first_difference, read.values())), 0
        classes: list[dict[str, Tensor]] = []
        for group in contrast.groups:
            states = []
            for word in group:
                text, ids = template.replace(PLACEHOLDER, word), {name: tokens[number] for name, tokens in read.items()}
                states.append(_states(family, components, text, ids, start=start, inside=inside, after=after))
                number += 1
            classes.append({name: torch.stack([one[name] for one in states]).mean(dim=0) for name in states[0]})
        for name in classes[0]:
            totals[name] = totals.get(name, torch.zeros(())) + torch.stack([found[name] for found in classes])
    return {name: total / len(contrast.templates) for name, total in totals.items()}


def _first_difference(tokens: Sequence[Sequence[int]]) -> int:
    """Return the first place in which not all lists agree."""
    return next(place for place, ids in enumerate(zip(*tokens, strict=False)) if len(set(ids)) > 1)


def _states(
    family: Family,
    components: Components,
    text: str,
    tokens: Mapping[str, Sequence[int]],
    *,
    start: int,
    inside: Mapping[str, nn.Module],
    after: Sequence[str],
) -> dict[str, Tensor]:
    """Return the mean input of every layer over the tokens from `start` on, for one prompt."""
    found: dict[str, Tensor] = {}
    ids = {
        name: torch.tensor([list(row)], device=next(getattr(components, name).parameters()).device)
        for name, row in tokens.items()
    }
    with _recording(inside, found):
        embedded = family.embed(components, [text], ids)
    found.update(dict.fromkeys(after, embedded["prompt_embeds"]))
    return {name: states[0, start:].mean(dim=0).float().cpu() for name, states in found.items()}


@contextmanager
def _recording(layers: Mapping[str, nn.Module], into: dict[str, Tensor]) -> Iterator[None]:
    """Inside the block the layers leave their latest input in `into`."""

    def record(name: str) -> object:
        return lambda layer, inputs: into.__setitem__(name, inputs[0])

    handles = [layer.register_forward_pre_hook(record(name)) for name, layer in layers.items()]  # type: ignore[arg-type]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _principal(rows: Tensor, rank: int) -> Tensor:
    """Return the first `rank` right singular vectors of `rows` [K, D]."""
    vectors = torch.linalg.svd(rows, full_matrices=False).Vh[:rank]
    largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    return vectors * largest.sign()
