"""From what was seen to figures, each with what is known of its error, and to the verdict that they allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch

from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.judging.image_folders import ImageFolder
from fairlit.judging.observations import Seen
from fairlit.metrics import AttributeDistribution

Standing = Literal["off", "within", "open"]
"""Of a prompt against its target: shown to differ, shown to be near, or neither."""
STANDINGS: tuple[Standing, ...] = ("off", "within", "open")

JOINT = "joint"
_ALPHA = 0.05


def measure(
    folder: ImageFolder, seen: Sequence[Seen], target: TargetDistribution, tolerance: float = 0.1, seed: int = 0
) -> dict[str, Any]:
    """Figures of the images of a folder.

    Args:
        folder: prompts and images.
        seen: what was seen in each image.
        target: classes in the order of the probabilities in `seen`.
        tolerance: total variation distance to the target up to which a prompt counts as near it, in (0, 1).
        seed: of bootstrap and Monte-Carlo draws.

    Returns:
        What `AttributeDistribution.compute` gives, with prompts by their text (and their `number`), without `joint`
        where there is one attribute only. Every block of a prompt also has its `standing`: ``within`` if the distance
        is below the tolerance at 95 %, else ``off`` if the multinomial test rejects the target after Holm's
        correction over prompts, else ``open``. Overall blocks count them in `prompts_off`, `prompts_within` and
        `prompts_open`; prompts without a face are in none.
    """
    readable = [index for index, entry in enumerate(seen) if entry.damaged is None]
    found = [(place, face) for place, index in enumerate(readable) for face in seen[index].faces]
    faces, rows = [place for place, _ in found], [face.probabilities for _, face in found]
    probabilities = {
        name: torch.tensor([row[name] for row in rows]).view(len(rows), len(classes))
        for name, classes in target.classes.items()
    }
    prompts = torch.tensor([folder.images[index].prompt for index in readable], dtype=torch.long)
    metric = AttributeDistribution(target, seed=seed)
    metric.update(prompts, probabilities, torch.tensor(faces, dtype=torch.long))
    figures = metric.compute()
    if len(target.attributes) == 1:
        for entry in (figures, *figures["per_prompt"]):
            del entry[JOINT]
    for entry in figures["per_prompt"]:
        entry["number"] = entry["prompt"]
        entry["prompt"] = folder.prompts[entry["number"]]
        for block in blocks_of(entry).values():
            block["standing"] = _standing(block, tolerance)
    for name, block in blocks_of(figures).items():
        standings = [blocks_of(entry)[name]["standing"] for entry in figures["per_prompt"] if entry["faces"]]
        block |= {f"prompts_{standing}": standings.count(standing) for standing in STANDINGS}
    return figures


def blocks_of(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The blocks of overall figures, or of those of a prompt: the attributes, then the joint one where there is one."""
    return {**figures["attributes"], **({JOINT: figures[JOINT]} if JOINT in figures else {})}


def verdict(figures: Mapping[str, Any], tolerance: float) -> dict[str, Any]:
    """What figures allow to say, and no more.

    Returns:
        `standing` over all prompts: ``off`` if any prompt is, in any attribute or in the joint classes; ``within`` if
        all are in all of them; else ``open``. A `headline`; and one sentence for each block in `statements`.
    """
    entries = [blocks_of(entry).values() for entry in figures["per_prompt"] if entry["faces"]]
    prompts = len(entries)
    if not prompts:
        nothing = "No face was found in any image: there is nothing to judge."
        return {"standing": "open", "headline": nothing, "statements": {}}
    off = sum(any(block["standing"] == "off" for block in blocks) for blocks in entries)
    near = all(block["standing"] == "within" for blocks in entries for block in blocks)
    standing: Standing = "off" if off else "within" if near else "open"
    headline = {
        "off": f"Misses its target in {off} of {_prompts(prompts)}.",
        "within": f"Within {tolerance:g} of its target in {_prompts(prompts, every=True)}.",
        "open": f"Undecided: too few images to show that it misses its target, or is within {tolerance:g} of it.",
    }[standing]
    statements = {name: _statement(block, prompts, tolerance) for name, block in blocks_of(figures).items()}
    return {"standing": standing, "headline": headline, "statements": statements}


def same_noise_pairs(
    folder: ImageFolder, seen: Sequence[Seen], other: ImageFolder, other_seen: Sequence[Seen]
) -> list[tuple[int, int]]:
    """Images of the same prompt and the same noise: their places in the one folder and in the other.

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


def _statement(block: Mapping[str, Any], prompts: int, tolerance: float) -> str:
    low, high = block["tv_ci"]
    return (
        f"On average {block['tv']:.2f} [{low:.2f}, {high:.2f}] from the target; a model that meets it would show "
        f"{block['tv_noise_floor']:.2f}. Of {_prompts(prompts)}, {block['prompts_off']} miss the target, "
        f"{block['prompts_within']} are within {tolerance:g} of it, {block['prompts_open']} are undecided."
    )


def _prompts(count: int, every: bool = False) -> str:
    if count == 1:
        return "the one prompt"
    return f"all {count} prompts" if every else f"{count} prompts"


def _standing(block: Mapping[str, Any], tolerance: float) -> Standing:
    if block["tv_bound"] <= tolerance:
        return "within"
    return "off" if block["p_value_holm"] <= _ALPHA else "open"
