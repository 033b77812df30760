"""The report of an audit: one HTML file that needs nothing else, and asks nobody for anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairlit.auditing.charts import MOST_PROMPTS
from fairlit.auditing.measure import blocks_of, same_noise_pairs
from fairlit.auditing.report_parts import Classes, chart_sources, legend, render, tile
from fairlit.judging.image_folders import ImageFolder, Skipped
from fairlit.judging.observations import Seen


@dataclass(frozen=True)
class Audited:
    """One folder, what was seen in it, and the figures.

    Attributes:
        folder: the images.
        seen: what was seen in each.
        figures: from `auditing.measure.measure`.
    """

    folder: ImageFolder
    seen: Sequence[Seen]
    figures: Mapping[str, Any]

    @property
    def not_counted(self) -> list[Skipped]:
        """What is missing, damaged, or no image."""
        pairs = zip(self.folder.images, self.seen, strict=True)
        damaged = [Skipped(image.file, entry.damaged) for image, entry in pairs if entry.damaged is not None]
        return [*self.folder.skipped, *damaged]

    @property
    def without_face(self) -> list[Skipped]:
        """Images in which no face was found."""
        pairs = zip(self.folder.images, self.seen, strict=True)
        return [Skipped(image.file, "no face found") for image, entry in pairs if entry.status == "no face"]


@dataclass(frozen=True)
class ReportTexts:
    """What a report says beside the figures.

    Attributes:
        title: its heading.
        command: how to make it again.
        provenance: name -> value: versions, digests, settings.
        judge_limits: what is known of the classifier's errors.
        tolerance: see `auditing.measure.measure`.
    """

    title: str
    command: str
    provenance: Mapping[str, str]
    judge_limits: str
    tolerance: float


@dataclass(frozen=True)
class Further:
    """Figures that stand behind the main ones.

    Attributes:
        corrected: from `corrections.corrected_figures`.
        similarities: from `similarities.measure_similarities`.
        images_for_tolerance: images of one prompt whose interval of a share is as wide as the tolerance either side.
        groups: from `groups.measure_groups`; None where the largest face of an image counts.
    """

    corrected: Mapping[str, Any]
    similarities: Mapping[str, Any]
    images_for_tolerance: int
    groups: Mapping[str, Any] | None = None


def audit_report(
    audited: Audited,
    original: Audited | None,
    verdict: Mapping[str, Any],
    charts: Mapping[str, Mapping[str, bytes]],
    classes: Classes,
    texts: ReportTexts,
    further: Further,
    most_prompts: int = 12,
    most_images: int = 8,
) -> str:
    """The page.

    Args:
        audited: what is judged.
        original: the original model's images, None without.
        verdict: from `results.verdict`.
        charts: name -> forms from `charts.draw`: ``shares``, ``prompts_NAME`` for each attribute, maybe ``joint``.
        classes: attribute -> class names, in the order of the probabilities.
        texts: what is said.
        further: what stands behind.
        most_prompts: prompts of which images are shown.
        most_images: images shown of each.
    """
    figures = audited.figures
    entries = _by_distance(figures)
    with_faces = sum(entry["faces"] > 0 for entry in entries)
    shown = [entry["number"] for entry in entries[:most_prompts]]
    pairs = same_noise_pairs(audited.folder, audited.seen, original.folder, original.seen) if original else []
    columns = ([("original", original.figures)] if original else []) + [("audited", figures)]
    sources = {name: chart_sources(forms) for name, forms in charts.items()}
    return render(
        "audit.html.j2",
        title=texts.title,
        summary=f"{with_faces} prompts with faces, {figures['images']} images, {figures['faces']} faces · "
        + " · ".join(f"{name} {value}" for name, value in texts.provenance.items() if name in ("made", "fairlit")),
        verdict=verdict,
        columns=columns,
        figures=figures,
        original=original is not None,
        charts={"joint": None, "people": None} | sources,
        prompt_charts={name: sources[f"prompts_{name}"] for name in blocks_of(figures) if f"prompts_{name}" in sources},
        hidden_prompts=max(0, with_faces - MOST_PROMPTS),
        prompts=entries,
        legend=legend(classes),
        grids=[_grid(audited, entry, classes, most_images) for entry in entries[:most_prompts]],
        hidden_grids=max(0, len(entries) - most_prompts),
        pairs=_pairs(audited, original, pairs, shown, classes, most_images) if original else [],
        pair_summary=_pair_summary(audited, original, pairs, classes) if original else "",
        not_counted=audited.not_counted,
        without_face=audited.without_face,
        not_counted_summary=_not_counted_summary(audited),
        judge_limits=texts.judge_limits,
        corrected=further.corrected,
        similarities=further.similarities,
        images_for_tolerance=further.images_for_tolerance,
        groups=further.groups,
        tolerance=f"{texts.tolerance:g}",
        command=texts.command,
        provenance=texts.provenance,
    )


def _by_distance(figures: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Prompts, those furthest from their targets first, those without a face last."""

    def distance(entry: Mapping[str, Any]) -> float:
        return sum(block["tv"] for block in entry["attributes"].values()) if entry["faces"] else -1.0

    return sorted(figures["per_prompt"], key=distance, reverse=True)


def _grid(audited: Audited, entry: Mapping[str, Any], classes: Classes, most: int) -> dict[str, Any]:
    places = [
        place
        for place, image in enumerate(audited.folder.images)
        if image.prompt == entry["number"] and audited.seen[place].damaged is None
    ]
    tiles = [_tile(audited, place, classes) for place in places[:most]]
    return {"prompt": entry["prompt"], "faces": entry["faces"], "images": entry["images"], "tiles": tiles}


def _tile(audited: Audited, place: int, classes: Classes) -> dict[str, Any]:
    return tile(audited.folder.root / audited.folder.images[place].file, audited.seen[place], classes)


def _pairs(
    audited: Audited,
    original: Audited,
    pairs: Sequence[tuple[int, int]],
    shown: Sequence[int],
    classes: Classes,
    most: int,
) -> list[dict[str, Any]]:
    """Pairs of tiles, prompt by prompt in the order of `shown`."""
    groups = []
    for number in shown:
        of_prompt = [pair for pair in pairs if audited.folder.images[pair[0]].prompt == number][:most]
        tiles = [(_tile(original, before, classes), _tile(audited, after, classes)) for after, before in of_prompt]
        if tiles:
            groups.append({"prompt": audited.folder.prompts[number], "pairs": tiles})
    return groups


def _pair_summary(
    audited: Audited, original: Audited | None, pairs: Sequence[tuple[int, int]], classes: Classes
) -> str:
    """In how many pairs the perceived class differs."""
    assert original is not None
    both = [
        (original.seen[before].probabilities, audited.seen[after].probabilities)
        for after, before in pairs
        if original.seen[before].box is not None and audited.seen[after].box is not None
    ]
    if not both:
        return ""
    changed = []
    for name in classes:
        moved = sum(_label(before[name]) != _label(after[name]) for before, after in both)
        changed.append(f"{name.replace('_', ' ')} in {moved}")
    return f"Of {len(both)} pairs with a face in both images, the perceived class differs: {', '.join(changed)}."


def _label(probabilities: Sequence[float]) -> int:
    return max(range(len(probabilities)), key=probabilities.__getitem__)


def _not_counted_summary(audited: Audited) -> str:
    statuses = [entry.status for entry in audited.seen]
    read = len(statuses) - statuses.count("damaged")
    return (
        f"Images found: {len(statuses)}; read: {read}; damaged: {statuses.count('damaged')}; further entries that are "
        f"missing or no image: {len(audited.folder.skipped)}; read, but without a face that the detector finds, and so "
        f"not in the frequencies: {statuses.count('no face')}."
    )
