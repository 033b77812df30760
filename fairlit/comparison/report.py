"""The report of a comparison: one HTML file, the table of methods first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairlit.auditing.judged_folder import JudgedFolder
from fairlit.auditing.outputs import encoder_line, judge_alarm, judge_lines, version_lines
from fairlit.auditing.report import ReportOptions
from fairlit.auditing.report_parts import Classes, Tile, chart_sources, legend, render, tile, title_of
from fairlit.comparison.figures import SIMILARITIES, excludes_zero
from fairlit.io.wording import counted
from fairlit.judging.image_folders import ImageFolder
from fairlit.judging.observations import Seen
from fairlit.pictures.chart_forms import MAX_CHART_PROMPTS, Chart
from fairlit.results.comparison import ComparisonResults, MethodResults
from fairlit.results.figures import CompositionFigures, DistributionFigures, PromptFigures, Similarities
from fairlit.results.record import Estimate

_FEWER_FACES = 0.1  # of all images: what a method may lose before the report warns
_SIMILARITY_TITLES = {"clip_i": "CLIP-I", "dino": "DINO", "clip_t": "CLIP-T"}
_NEEDS = {"training": "a finetuning run", "classifier": "a classifier of faces", "words": "words for the classes"}


@dataclass(frozen=True)
class GroupRow:
    """People found in one method's pictures, and the figures of their compositions.

    Attributes:
        name: name of the method.
        exact: share of images with as many people as asked for.
        found: mean number found for each number asked for.
        blocks: figures of each composition; None where the method has none.
    """

    name: str
    exact: float | None
    found: Sequence[float | None]
    blocks: Sequence[CompositionFigures | None]


@dataclass(frozen=True)
class GroupTable:
    """The table of people found and of compositions.

    Attributes:
        asked: numbers of people that prompts ask for.
        compositions: numbers of people, and attributes, of which there are figures.
        rows: one row a method.
    """

    asked: Sequence[int]
    compositions: Sequence[tuple[int, str]]
    rows: Sequence[GroupRow]


@dataclass(frozen=True)
class ChangeCell:
    """A difference with a mark where it is shown to be one.

    Attributes:
        title: heading of its column.
        change: the difference.
        mark: ``better`` or ``worse`` where that is shown; else empty.
    """

    title: str
    change: Estimate
    mark: str


@dataclass(frozen=True)
class ChangeRow:
    """Differences of one method to others.

    Attributes:
        name: name of the method.
        cells: differences; None to itself.
    """

    name: str
    cells: Sequence[ChangeCell | None]


@dataclass(frozen=True)
class _TileRow:
    """Pictures of one method."""

    method: str
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class _Grid:
    """Pictures of one prompt, a row a method, the same noise below each other."""

    prompt: str
    rows: Sequence[_TileRow]


def comparison_charts(results: ComparisonResults) -> dict[str, Chart]:
    """Return all charts; none where no method drew a face."""
    figures = {name: method.figures for name, method in results.methods.items()}
    if not any(one.faces for one in figures.values()):
        return {}
    from fairlit.comparison.charts import Panel, panels_chart, prompts_by_method_chart, shares_by_method_chart
    from fairlit.pictures.chart_style import draw

    panels = []
    for block in figures[results.reference].blocks:
        values = {name: one.blocks[block].tv for name, one in figures.items()}
        panels.append(Panel(f"distance to target, {title_of(block)}", values))
    for kind, words in (("similarities", ""), ("unrelated", ", unrelated")):
        found = {name: getattr(method, kind).measured for name, method in results.methods.items()}
        for name in ("clip_i", "dino"):
            if all(name in own for own in found.values()):
                values = {method: own[name] for method, own in found.items()}
                panels.append(Panel(f"{_SIMILARITY_TITLES[name]}{words}", values, low_is_good=False))
    charts = {"methods": draw(panels_chart(panels))}
    for place, (name, own_figures) in enumerate(figures[results.reference].attributes.items()):
        shares = {
            method: {label: share.value for label, share in one.attributes[name].frequencies.items()}
            for method, one in figures.items()
        }
        charts[f"shares_{name}"] = draw(shares_by_method_chart(shares, own_figures.target, place))
    main = figures[results.reference].main_block
    distances = {
        method: {entry.prompt: entry.blocks[main].tv.value for entry in one.per_prompt}
        for method, one in figures.items()
    }
    prompts = _by_distance(figures[results.reference])
    return charts | {"prompts": draw(prompts_by_method_chart(distances, prompts))}


def _by_distance(figures: DistributionFigures) -> list[str]:
    """Prompts, the one furthest from the target first, those without a face last."""

    def distance(entry: PromptFigures) -> float:
        return entry.blocks[figures.main_block].tv.value if entry.faces else -1.0

    return [entry.prompt for entry in sorted(figures.per_prompt, key=distance, reverse=True)]


def comparison_report(
    results: ComparisonResults,
    judged: Mapping[str, JudgedFolder],
    unrelated: Mapping[str, tuple[ImageFolder, Sequence[Seen]]],
    *,
    charts: Mapping[str, Chart],
    sampling: str,
    options: ReportOptions,
) -> str:
    """Return the page.

    Args:
        results: results of the comparison.
        judged: method -> its images of the judged prompts, for the pictures.
        unrelated: method -> its images of unrelated prompts, and whether each can be read; may be empty.
        charts: charts from `comparison_charts`.
        sampling: how the images were sampled.
        options: what the report says and shows.
    """
    reference = results.methods[results.reference]
    figures = reference.figures
    classes: Classes = {name: list(one.target) for name, one in figures.attributes.items()}
    sources = {name: chart_sources(chart) for name, chart in charts.items()}
    against = change_rows(results)
    prompts, made = _by_distance(figures), results.origin
    return render(
        "comparison.html.j2",
        title=options.title,
        summary=f"{len(results.methods)} methods, {counted(figures.prompts, 'prompt')}, "
        f"{counted(results.images, 'image')} of each from the same noise · made {made.made} · fairlit {made.version}",
        results=results,
        headline=headline_of(results),
        statements=_statements(results),
        fewer_faces=_fewer_faces(results),
        needs={name: _needs(method) for name, method in results.methods.items()},
        settings={name: json.dumps(one.settings, ensure_ascii=False) for name, one in results.methods.items()},
        similarity_columns=_similarity_columns(reference.similarities),
        unrelated_columns=_similarity_columns(reference.unrelated)[:1],
        block=figures.main_block,
        reference_figures=figures,
        against=against,
        against_columns=[cell.title for cell in against[0].cells if cell] if against else [],
        pairs=_pairs(results),
        charts={"methods": sources.get("methods"), "prompts": sources.get("prompts")},
        groups=group_rows(results.methods),
        share_charts={name: sources[f"shares_{name}"] for name in classes if f"shares_{name}" in sources},
        hidden_prompts=max(0, len(prompts) - MAX_CHART_PROMPTS),
        legend=legend(classes),
        grids=_grids(judged, prompts[: options.max_prompts], classes, most=options.max_images),
        unrelated_grids=_unrelated_grids(unrelated, options.max_images),
        unrelated_shown=next(iter(unrelated.values()))[0].prompts[: options.max_images] if unrelated else [],
        judge_limits=options.judge_limits,
        alarm=judge_alarm(results.judge, classes),
        without_joint_classes=options.without_joint_classes,
        provenance=_provenance(results, sampling),
    )


def _needs(method: MethodResults) -> str:
    return ", ".join(_NEEDS.get(need, need) for need in method.needs) or "nothing"


def group_rows(methods: Mapping[str, MethodResults]) -> GroupTable | None:
    """Return the table of people found and of compositions; None where the largest faces alone count.

    Args:
        methods: name -> what is known of the method.
    """
    found = {name: method.groups for name, method in methods.items() if method.groups is not None}
    if not found:
        return None
    asked = sorted({number for one in found.values() for number in one.per_image})
    compositions = [
        (people, name)
        for people in asked
        for name in dict.fromkeys(name for one in found.values() for name in one.compositions.get(people, {}))
    ]
    rows = [
        GroupRow(
            name,
            one.exact,
            [one.per_image.get(number) for number in asked],
            [one.compositions.get(people, {}).get(attribute) for people, attribute in compositions],
        )
        for name, one in found.items()
    ]
    return GroupTable(asked, compositions, rows)


def _main_block(results: ComparisonResults) -> str:
    return results.methods[results.reference].figures.main_block


def headline_of(results: ComparisonResults) -> str:
    """Return which method is nearest to the target, and of how many others that is shown, as a sentence."""
    found = results.standing[_main_block(results)]
    best, others = found.best, len(found.ahead_of) + len(found.not_ahead_of)
    if best is None:
        return "No face was found in any image: there is nothing to compare."
    if not others:
        return f"{_quoted(best)} stands alone: no other method drew faces."
    if not found.not_ahead_of:
        words = "the other one" if others == 1 else f"all {others} others"
        return f"{_quoted(best)} comes nearest to the target, and is shown to be ahead of {words}."
    if not found.ahead_of:
        other = "the other one" if others == 1 else "any other"
        return f"{_quoted(best)} comes nearest to the target, but is not shown to be ahead of {other}."
    shown = f"{len(found.ahead_of)} of the {others} others"
    return f"{_quoted(best)} comes nearest to the target, and is shown to be ahead of {shown}."


def _statements(results: ComparisonResults) -> list[str]:
    block = _main_block(results)
    found = results.standing[block]
    if found.best is None:
        return []
    tv = results.methods[found.best].figures.blocks[block].tv
    lines = [
        f"{_quoted(found.best)}: {tv.value:.2f} [{tv.low:.2f}, {tv.high:.2f}] from the target ({title_of(block)})."
    ]
    if found.best != results.reference:
        nearer = results.difference(results.reference, found.best).blocks[block].tv
        lines.append(
            f"That is {nearer.value:.2f} [{nearer.low:.2f}, {nearer.high:.2f}] nearer than "
            f"{_quoted(results.reference)}."
        )
    if found.not_ahead_of:
        names = ", ".join(map(_quoted, found.not_ahead_of))
        lines.append(f"Not shown to be worse, with as many prompts and images: {names}.")
    return lines


def _fewer_faces(results: ComparisonResults) -> list[str]:
    before = results.methods[results.reference].figures.face_rate
    return [
        f"{_quoted(name)}: a face in {100 * method.figures.face_rate:.0f} % of the images, "
        f"{_quoted(results.reference)} in {100 * before:.0f} %"
        for name, method in results.methods.items()
        if method.figures.face_rate < before - _FEWER_FACES
    ]


def change_rows(results: ComparisonResults) -> list[ChangeRow]:
    """Return a row for each method but the unchanged model: what it changes."""
    return [_against(name, results) for name in results.methods if name != results.reference]


def _against(name: str, results: ComparisonResults) -> ChangeRow:
    """One method against the reference: cells with their headings."""
    difference = results.difference(name, results.reference)
    uniform = results.methods[results.reference].figures.uniform_blocks
    cells = []
    for block, change in difference.blocks.items():
        cells.append(_cell(f"distance, {title_of(block)}", change.tv, -1))
        if block in uniform:
            cells.append(_cell(f"bias, {title_of(block)}", change.bias, -1))
    for similarities, words in ((difference.similarities, "CLIP-T"), (difference.unrelated, "CLIP-T, unrelated")):
        if similarities.clip_t is not None:
            cells.append(_cell(words, similarities.clip_t, 1))
    return ChangeRow(name, cells)


def _pairs(results: ComparisonResults) -> list[ChangeRow]:
    """Rows of the table of all pairs: distance of the row's method minus that of the column's."""
    block = _main_block(results)
    return [
        ChangeRow(
            first,
            [
                None if first == second else _cell("", results.difference(first, second).blocks[block].tv, -1)
                for second in results.methods
            ],
        )
        for first in results.methods
    ]


def _cell(title: str, change: Estimate, good: int) -> ChangeCell:
    """A difference with a mark where it is shown to be one; `good` is the sign of a better method."""
    mark = ""
    if excludes_zero(change):
        mark = "better" if change.value * good > 0 else "worse"
    return ChangeCell(title, change, mark)


def _provenance(results: ComparisonResults, sampling: str) -> dict[str, str]:
    """Name -> value: versions, digests, settings."""
    return {
        "model": results.model,
        "sampling": sampling,
        "target": json.dumps(results.target, ensure_ascii=False),
        **judge_lines(results.judge),
        "encoders": encoder_line(results.encoders),
        "device": results.device,
        "seed": f"{results.origin.seed} (bootstrap)",
        **version_lines(results.origin),
    }


def _grids(methods: Mapping[str, JudgedFolder], prompts: Sequence[str], classes: Classes, *, most: int) -> list[_Grid]:
    """Per prompt a row of tiles a method, the same noise below each other."""
    grids = []
    for prompt in prompts:
        rows = []
        for name, judged in methods.items():
            folder, seen = judged.folder, judged.seen
            places = [
                place
                for place, image in enumerate(folder.images)
                if folder.prompts[image.prompt] == prompt and image.number < most and seen[place].damaged is None
            ]
            tiles = [tile(folder.root / folder.images[place].file, seen[place], classes) for place in places]
            rows.append(_TileRow(name, tiles))
        grids.append(_Grid(prompt, rows))
    return grids


def _unrelated_grids(folders: Mapping[str, tuple[ImageFolder, Sequence[Seen]]], most: int) -> list[_TileRow]:
    """One image of each unrelated prompt, a row a method."""
    rows = []
    for name, (folder, seen) in folders.items():
        first = [p for p, image in enumerate(folder.images) if image.number == 0 and seen[p].damaged is None][:most]
        rows.append(_TileRow(name, [tile(folder.root / folder.images[p].file, seen[p], {}) for p in first]))
    return rows


def _similarity_columns(found: Similarities) -> list[tuple[str, str]]:
    """Key and heading of the similarities that were measured."""
    return [(name, _SIMILARITY_TITLES[name]) for name in SIMILARITIES if name in found.measured]


def _quoted(name: str) -> str:
    return f"“{name}”"
