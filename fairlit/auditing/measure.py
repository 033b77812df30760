"""From what was seen to figures, each with what is known of its error, and to the verdict that they allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.judging.image_folders import ImageFolder
from fairlit.judging.observations import Seen
from fairlit.metrics.distribution import DistributionStatistics
from fairlit.results.audit import Verdict
from fairlit.results.figures import (
    AttributeFigures,
    DistributionFigures,
    Outcome,
    PromptAttributeFigures,
    PromptFigures,
)

_ALPHA = 0.05


def measure(
    folder: ImageFolder, seen: Sequence[Seen], target: TargetDistribution, *, tolerance: float = 0.1, seed: int = 0
) -> DistributionFigures:
    """Return the figures of the images of a folder, prompts by their texts, with the outcome of each of them.

    A prompt's outcome in an attribute is ``on_target`` if its distance to the target is below the tolerance with 95 %
    confidence, else ``off_target`` if the multinomial test rejects the target after Holm's correction over prompts,
    else ``inconclusive``. Figures of all prompts count them; prompts without a face count nowhere.

    Args:
        folder: prompts and images.
        seen: what was seen in each image.
        target: target distribution, classes in the order of the probabilities in `seen`.
        tolerance: total variation distance to the target up to which a prompt counts as near it, in (0, 1).
        seed: seed of bootstrap and Monte-Carlo draws.
    """
    readable = [index for index, entry in enumerate(seen) if entry.damaged is None]
    found = [(place, face) for place, index in enumerate(readable) for face in seen[index].faces]
    faces, rows = [place for place, _ in found], [face.probabilities for _, face in found]
    probabilities = {
        name: torch.tensor([row[name] for row in rows]).view(len(rows), len(classes))
        for name, classes in target.classes.items()
    }
    prompts = torch.tensor([folder.images[index].prompt for index in readable], dtype=torch.long)
    statistics = DistributionStatistics(target=target, seed=seed)
    figures = statistics.measure(prompts, probabilities, torch.tensor(faces, dtype=torch.long))
    return _with_outcomes(figures.named(folder.prompts), tolerance)


def _with_outcomes(figures: DistributionFigures, tolerance: float) -> DistributionFigures:
    """The same figures, with outcomes, and without joint classes where there is one attribute only."""
    several = len(figures.attributes) > 1

    def judged(entry: PromptFigures) -> PromptFigures:
        blocks = {name: replace(block, outcome=_outcome(block, tolerance)) for name, block in entry.attributes.items()}
        joint = entry.joint_classes
        joint = replace(joint, outcome=_outcome(joint, tolerance)) if several and joint is not None else None
        return replace(entry, attributes=blocks, joint_classes=joint)

    per_prompt = tuple(map(judged, figures.per_prompt))

    def counted(name: str, block: AttributeFigures) -> AttributeFigures:
        outcomes = [entry.blocks[name].outcome for entry in per_prompt if entry.faces]
        return replace(
            block,
            prompts_on_target=outcomes.count("on_target"),
            prompts_off_target=outcomes.count("off_target"),
            prompts_inconclusive=outcomes.count("inconclusive"),
        )

    figures = figures if several else replace(figures, joint_classes=None)
    blocks = {name: counted(name, block) for name, block in figures.blocks.items()}
    attributes = {name: blocks[name] for name in figures.attributes}
    joint = None if figures.joint_classes is None else blocks[figures.main_block]
    return replace(figures, attributes=attributes, joint_classes=joint, per_prompt=per_prompt)


def verdict(figures: DistributionFigures, tolerance: float) -> Verdict:
    """Return what figures allow to say, and no more.

    Args:
        figures: figures from `measure`.
        tolerance: the tolerance that they were measured with.
    """
    entries = [list(entry.blocks.values()) for entry in figures.with_faces]
    prompts = len(entries)
    if not prompts:
        nothing = "No face was found in any image: there is nothing to judge."
        return Verdict(outcome="inconclusive", headline=nothing, statements={})
    off = sum(any(block.outcome == "off_target" for block in blocks) for blocks in entries)
    near = all(block.outcome == "on_target" for blocks in entries for block in blocks)
    outcome: Outcome = "off_target" if off else "on_target" if near else "inconclusive"
    headline = {
        "off_target": f"Misses its target in {off} of {_prompts(prompts)}.",
        "on_target": f"Within {tolerance:g} of its target in {_prompts(prompts, every=True)}.",
        "inconclusive": "Inconclusive: too few images to show that it misses its target, or is within "
        f"{tolerance:g} of it.",
    }[outcome]
    statements = {name: _statement(block, prompts, tolerance) for name, block in figures.blocks.items()}
    return Verdict(outcome=outcome, headline=headline, statements=statements)


def same_noise_pairs(
    folder: ImageFolder, seen: Sequence[Seen], other: ImageFolder, *, other_seen: Sequence[Seen]
) -> list[tuple[int, int]]:
    """Return images of the same prompt and the same noise: their places in the one folder and in the other.

    They are matched by prompt and noise key where both folders tell the keys, else by prompt and number. Damaged
    ones are left out.
    """
    keyed = all(image.noise_key for image in (*folder.images, *other.images))

    def name(source: ImageFolder, place: int) -> tuple[Any, ...]:
        image = source.images[place]
        return source.prompts[image.prompt], (image.noise_key if keyed else image.number)

    places = {name(other, place): place for place in range(len(other.images)) if other_seen[place].damaged is None}
    return [
        (place, places[name(folder, place)])
        for place in range(len(folder.images))
        if seen[place].damaged is None and name(folder, place) in places
    ]


def _statement(block: AttributeFigures, prompts: int, tolerance: float) -> str:
    off = block.prompts_off_target
    return (
        f"On average {block.tv.value:.2f} [{block.tv.low:.2f}, {block.tv.high:.2f}] from the target; a model that "
        f"meets it would show {block.tv.floor:.2f}. Of {_prompts(prompts)}, {off} {'misses' if off == 1 else 'miss'} "
        f"the target, {_are(block.prompts_on_target)} within {tolerance:g} of it, "
        f"{_are(block.prompts_inconclusive)} inconclusive."
    )


def _are(count: int | None) -> str:
    return f"{count} {'is' if count == 1 else 'are'}"


def _prompts(count: int, every: bool = False) -> str:
    if count == 1:
        return "the one prompt"
    return f"all {count} prompts" if every else f"{count} prompts"


def _outcome(block: PromptAttributeFigures, tolerance: float) -> Outcome:
    if block.tv_bound <= tolerance:
        return "on_target"
    return "off_target" if block.p_value_holm <= _ALPHA else "inconclusive"
