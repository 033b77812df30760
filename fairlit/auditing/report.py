"""The report of an audit: one HTML file that needs nothing else, and asks nobody for anything."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairlit.auditing.judged_folder import JudgedFolder
from fairlit.auditing.measure import same_noise_pairs
from fairlit.auditing.outputs import encoder_line, judge_alarm, judge_lines, version_lines
from fairlit.auditing.report_parts import Classes, Tile, chart_sources, legend, render, tile, title_of
from fairlit.io.wording import counted
from fairlit.pictures.chart_forms import MAX_CHART_PROMPTS, Chart
from fairlit.results.audit import AuditResults
from fairlit.results.figures import DistributionFigures, PromptFigures
from fairlit.results.judging import FolderRecord, NotCounted
from fairlit.results.tables import distance_rows


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What a report says and shows beside the results.

    Attributes:
        title: heading of the report.
        judge_limits: what is known of the classifier's errors.
        without_joint_classes: why there are no figures of joint classes; None where nothing is left out.
        max_prompts: number of prompts of which images are shown.
        max_images: number of images shown of each.
    """

    title: str
    judge_limits: str
    without_joint_classes: str | None
    max_prompts: int
    max_images: int


@dataclass(frozen=True)
class _Grid:
    """Images of one prompt."""

    entry: PromptFigures
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class _Pairs:
    """Reference images of one prompt, each with the audited one from the same noise."""

    prompt: str
    tiles: Sequence[tuple[Tile, Tile]]


@dataclass(frozen=True, kw_only=True)
class _Order:
    """Words for the order of the prompts in the charts of their shares, and for the figure that it is by."""

    first: str
    last: str
    figure: str


def audit_report(
    results: AuditResults,
    audited: JudgedFolder,
    reference: JudgedFolder | None,
    *,
    charts: Mapping[str, Chart],
    options: ReportOptions,
    doubts: Sequence[str] = (),
) -> str:
    """Return the page.

    Args:
        results: results of the audit.
        audited: images that are judged, for the pictures.
        reference: the unchanged model's images; None without.
        charts: name -> chart: ``shares``, ``prompts_NAME`` for each attribute, maybe ``joint`` and ``people``.
        options: what the report says and shows.
        doubts: sentences on what the figures may not be relied on for.
    """
    figures = results.figures
    classes: Classes = {name: list(block.target) for name, block in figures.attributes.items()}
    entries = _by_distance(figures)
    with_faces = len(figures.with_faces)
    shown = entries[: options.max_prompts]
    pairs = (
        same_noise_pairs(audited.folder, audited.seen, reference.folder, other_seen=reference.seen) if reference else []
    )
    before = [] if results.reference_images is None else [("unchanged model", results.reference_images.figures)]
    sources = {name: chart_sources(chart) for name, chart in charts.items()}
    provenance = _provenance(results)
    distances = () if results.second_classifier is None else results.second_classifier.distances
    second_rows = distance_rows(distances, rest="rest", most=MAX_CHART_PROMPTS) if distances else []
    return render(
        "audit.html.j2",
        title=options.title,
        summary=f"{counted(with_faces, 'prompt')} with faces, {counted(figures.images, 'image')}, "
        f"{counted(figures.faces, 'face')} · "
        + " · ".join(f"{name} {value}" for name, value in provenance.items() if name in ("made", "fairlit")),
        results=results,
        doubts=doubts,
        figures=figures,
        columns=[*before, ("audited", figures)],
        charts={"joint": None, "people": None} | sources,
        prompt_charts={name: sources[f"prompts_{name}"] for name in classes if f"prompts_{name}" in sources},
        hidden_prompts=max(0, with_faces - MAX_CHART_PROMPTS),
        prompts=entries,
        uneven=", ".join(title_of(name) for name in figures.blocks if name not in figures.uniform_blocks),
        order=_order(figures),
        legend=legend(classes),
        grids=[_grid(audited, entry, classes, most=options.max_images) for entry in shown],
        hidden_grids=max(0, len(entries) - options.max_prompts),
        pairs=_pairs(audited, reference, pairs, shown=shown, classes=classes, most=options.max_images)
        if reference
        else [],
        pair_summary=_pair_summary(audited, reference, pairs, classes=classes) if reference else "",
        without_face=[NotCounted(file, "no face found") for file in results.audited.without_face],
        not_counted_summary=_not_counted_summary(results.audited),
        second_rows=second_rows,
        hidden_second=max(0, with_faces - MAX_CHART_PROMPTS),
        judge_limits=options.judge_limits,
        alarm=judge_alarm(results.judge, classes),
        without_joint_classes=options.without_joint_classes,
        tolerance=f"{results.tolerance:g}",
        provenance=provenance,
    )


def _by_distance(figures: DistributionFigures) -> list[PromptFigures]:
    """Prompts, those furthest from their targets first, those without a face last."""

    def distance(entry: PromptFigures) -> float:
        return sum(block.tv.value for block in entry.attributes.values()) if entry.faces else -1.0

    return sorted(figures.per_prompt, key=distance, reverse=True)


def _order(figures: DistributionFigures) -> _Order:
    """How each attribute's chart sorts the prompts."""
    uniform = [figures.attributes[name].is_target_uniform for name in figures.attributes]
    if all(uniform):
        return _Order(first="The most biased", last="least biased", figure="Bias")
    if not any(uniform):
        return _Order(first="The furthest from the target", last="nearest", figure="Distance to the target")
    return _Order(
        first="The most biased, or where the target is not uniform the furthest from it,",
        last="least so",
        figure="Bias or distance",
    )


def _grid(audited: JudgedFolder, entry: PromptFigures, classes: Classes, *, most: int) -> _Grid:
    places = [
        place
        for place, image in enumerate(audited.folder.images)
        if image.prompt == entry.number and audited.seen[place].damaged is None
    ]
    return _Grid(entry, [_tile(audited, place, classes) for place in places[:most]])


def _tile(judged: JudgedFolder, place: int, classes: Classes) -> Tile:
    return tile(judged.folder.root / judged.folder.images[place].file, judged.seen[place], classes)


def _pairs(
    audited: JudgedFolder,
    reference: JudgedFolder,
    pairs: Sequence[tuple[int, int]],
    *,
    shown: Sequence[PromptFigures],
    classes: Classes,
    most: int,
) -> list[_Pairs]:
    """Pairs of tiles, prompt by prompt in the order of `shown`."""
    groups = []
    for entry in shown:
        of_prompt = [pair for pair in pairs if audited.folder.images[pair[0]].prompt == entry.number][:most]
        tiles = [(_tile(reference, before, classes), _tile(audited, after, classes)) for after, before in of_prompt]
        if tiles:
            groups.append(_Pairs(entry.prompt, tiles))
    return groups


def _pair_summary(
    audited: JudgedFolder, reference: JudgedFolder, pairs: Sequence[tuple[int, int]], *, classes: Classes
) -> str:
    """In how many pairs the perceived class differs."""
    both = [
        (reference.seen[before].probabilities, audited.seen[after].probabilities)
        for after, before in pairs
        if reference.seen[before].box is not None and audited.seen[after].box is not None
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


def _not_counted_summary(folder: FolderRecord) -> str:
    return (
        f"Images found: {folder.images}; read: {folder.images - folder.damaged}; damaged: {folder.damaged}; further "
        f"entries that are missing or not an image: {folder.skipped}; read, but without a face that the detector "
        f"finds, and so not in the frequencies: {folder.no_face}."
    )


def _provenance(results: AuditResults) -> dict[str, str]:
    """Name -> value: versions, digests, settings."""
    lines = {
        "images": f"{results.audited.folder} ({results.audited.layout} layout)",
        "target": json.dumps(results.target, ensure_ascii=False),
        **judge_lines(results.judge),
        "seed": str(results.origin.seed),
        **version_lines(results.origin),
    }
    if results.encoders is not None:
        lines["encoders"] = encoder_line(results.encoders)
    if results.reference_images is not None:
        folder = results.reference_images.folder
        lines["reference images"] = f"{folder.folder} ({folder.layout} layout)"
    return lines
