"""The report of a comparison: one HTML file, the table of methods first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fairlit.auditing.charts import MOST_PROMPTS, draw
from fairlit.auditing.measure import blocks_of
from fairlit.auditing.report import ReportTexts
from fairlit.auditing.report_parts import Classes, chart_sources, legend, render, tile, title_of
from fairlit.comparison.charts import Panel, panels_chart, prompts_by_method_chart, shares_by_method_chart
from fairlit.comparison.figures import (
    SIMILARITIES,
    MethodFigures,
    difference_of,
    interval_excludes_zero,
    main_block,
)
from fairlit.judging.image_folders import ImageFolder
from fairlit.judging.observations import Seen

_FEWER_FACES = 0.1  # of all images: what a method may lose before the report warns
_SIMILARITY_TITLES = {"clip_i": "CLIP-I", "dino": "DINO", "clip_t": "CLIP-T"}
_NEEDS = {"training": "a finetuning run", "classifier": "a classifier of faces", "words": "words for the classes"}


def comparison_charts(
    methods: Mapping[str, MethodFigures], results: Mapping[str, Any], prompts: Sequence[str]
) -> dict[str, dict[str, bytes]]:
    """All charts in all their forms; none where no method drew a face.

    Args:
        methods: in the order of the rows.
        results: what `comparison.run_comparison` knows so far: `methods` and `reference`.
        prompts: in the order from top to bottom.
    """
    figures = {name: entry.audited.figures for name, entry in methods.items()}
    if not any(one["faces"] for one in figures.values()):
        return {}
    panels = []
    for block in blocks_of(next(iter(figures.values()))):
        own = {name: blocks_of(one)[block] for name, one in figures.items()}
        panels.append(
            Panel(
                f"distance to target, {title_of(block)}",
                {name: (one["tv"], one["tv_ci"]) for name, one in own.items()},
                {name: one["tv_noise_floor"] for name, one in own.items() if one["tv"] == one["tv"]},
            )
        )
    for kind, words in (("similarities", ""), ("unrelated", ", unrelated")):
        for name in ("clip_i", "dino"):
            found = {method: results["methods"][method][kind] for method in methods}
            if all(name in own for own in found.values()):
                values = {method: (own[name], own[f"{name}_ci"]) for method, own in found.items()}
                panels.append(Panel(f"{_SIMILARITY_TITLES[name]}{words}", values, {}, low_is_good=False))
    charts = {"methods": draw(panels_chart(panels))}
    for place, (name, block) in enumerate(next(iter(figures.values()))["attributes"].items()):
        shares = {method: one["attributes"][name]["frequencies"] for method, one in figures.items()}
        charts[f"shares_{name}"] = draw(shares_by_method_chart(shares, block["target"], place))
    block = main_block(next(iter(figures.values())))
    distances = {
        method: {entry["prompt"]: blocks_of(entry)[block]["tv"] for entry in one["per_prompt"]}
        for method, one in figures.items()
    }
    charts["prompts"] = draw(prompts_by_method_chart(distances, prompts))
    return charts


def comparison_report(
    methods: Mapping[str, MethodFigures],
    results: Mapping[str, Any],
    charts: Mapping[str, Mapping[str, bytes]],
    unrelated: Mapping[str, tuple[ImageFolder, Sequence[Seen]]],
    prompts: Sequence[str],
    texts: ReportTexts,
    most_prompts: int = 4,
    most_images: int = 8,
) -> str:
    """The page.

    Args:
        methods: in the order of the rows.
        results: content of ``results.json``, before it is made plain.
        charts: from `comparison_charts`.
        unrelated: method -> its images of unrelated prompts, and whether each can be read; may be empty.
        prompts: the judged prompts, the most biased of the reference first.
        texts: the rest.
        most_prompts: prompts of which images are shown.
        most_images: images shown of each.
    """
    reference = results["reference"]
    figures = methods[reference].audited.figures
    block = main_block(figures)
    classes: Classes = {name: list(one["target"]) for name, one in figures["attributes"].items()}
    sources = {name: chart_sources(forms) for name, forms in charts.items()}
    against = [_against(name, results, figures) for name in methods if name != reference]
    found = results["methods"][reference]
    return render(
        "comparison.html.j2",
        title=texts.title,
        summary=f"{len(methods)} methods, {figures['prompts']} prompts, {results['images']} images of each from the "
        f"same noise · made {results['made']} · fairlit {results['version']}",
        headline=_headline(results, block),
        statements=_statements(methods, results, block),
        fewer_faces=_fewer_faces(methods, reference),
        methods=[_row(name, entry, results["methods"][name], block) for name, entry in methods.items()],
        similarity_columns=_similarity_columns(found["similarities"]),
        unrelated_columns=_similarity_columns(found["unrelated"])[:1],
        swapped=results["clip_i_swapped"],
        block=block,
        at_best=blocks_of(figures)[block],
        at_best_of=figures["attributes"],
        figures={name: entry.audited.figures for name, entry in methods.items()},
        reference=reference,
        against=against,
        against_columns=[cell["title"] for cell in against[0]["cells"]] if against else [],
        pairs=_pairs(methods, results, block),
        charts={"methods": sources.get("methods"), "prompts": sources.get("prompts")},
        groups=group_rows(results["methods"]),
        share_charts={name: sources[f"shares_{name}"] for name in classes if f"shares_{name}" in sources},
        hidden_prompts=max(0, len(prompts) - MOST_PROMPTS),
        legend=legend(classes),
        grids=_grids(methods, prompts[:most_prompts], classes, most_images),
        unrelated_grids=_unrelated_grids(unrelated, most_images),
        unrelated_shown=next(iter(unrelated.values()))[0].prompts[:most_images] if unrelated else [],
        device=results["device"],
        judge_limits=texts.judge_limits,
        command=texts.command,
        provenance=texts.provenance,
    )


def _row(name: str, entry: MethodFigures, found: Mapping[str, Any], block: str) -> dict[str, Any]:
    needs = [_NEEDS.get(need, need) for need in found["needs"]]
    return {
        "name": name,
        "needs": ", ".join(needs) or "nothing",
        "block": blocks_of(entry.audited.figures)[block],
        "figures": entry.audited.figures,
        "similarities": found["similarities"],
        "unrelated": found["unrelated"],
        "seconds": found["seconds_an_image"],
        "prepare": found["seconds_to_prepare"],
        "edits": found["edits"],
        "settings": json.dumps(found["settings"], ensure_ascii=False),
    }


def group_rows(methods: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """The table of people found and of compositions; None where the largest faces alone count.

    Args:
        methods: name -> what `results.json` says of it.

    Returns:
        `asked`, the numbers of people that prompts ask for; `compositions`, (number of people, attribute) of which
        there are figures; and `rows`, each with a method's `name`, `exact` (share of images with as many as asked),
        `found` (mean number for each of `asked`) and `blocks` (figures for each of `compositions`, or None).
    """
    found = {name: one["groups"] for name, one in methods.items() if "groups" in one}
    if not found:
        return None
    asked = sorted({number for one in found.values() for number in one["per_image"]}, key=int)
    compositions = [
        (people, name)
        for people in asked
        for name in dict.fromkeys(name for one in found.values() for name in one["compositions"].get(people, {}))
    ]
    rows = [
        {
            "name": name,
            "exact": one["exact"],
            "found": [one["per_image"].get(number) for number in asked],
            "blocks": [one["compositions"].get(people, {}).get(attribute) for people, attribute in compositions],
        }
        for name, one in found.items()
    ]
    return {"asked": asked, "compositions": compositions, "rows": rows}


def _headline(results: Mapping[str, Any], block: str) -> str:
    found = results["standing"][block]
    best, others = found["best"], len(found["ahead_of"]) + len(found["not_ahead_of"])
    if best is None:
        return "No face was found in any image: there is nothing to compare."
    if not others:
        return f"{_quoted(best)} stands alone: no other method drew faces."
    if not found["not_ahead_of"]:
        words = "the other one" if others == 1 else f"all {others} others"
        return f"{_quoted(best)} comes nearest to the target, and is shown to be ahead of {words}."
    shown = f"of {len(found['ahead_of'])} of the {others} others" if found["ahead_of"] else "of none of the others"
    return f"{_quoted(best)} comes nearest to the target, and is shown to be ahead {shown}."


def _statements(methods: Mapping[str, MethodFigures], results: Mapping[str, Any], block: str) -> list[str]:
    found = results["standing"][block]
    best, reference = found["best"], results["reference"]
    if best is None:
        return []
    own = blocks_of(methods[best].audited.figures)[block]
    low, high = own["tv_ci"]
    lines = [f"{_quoted(best)}: {own['tv']:.2f} [{low:.2f}, {high:.2f}] from the target ({title_of(block)})."]
    if best != reference:
        change = difference_of(results["differences"], best, reference, block, "tv")
        low, high = change["ci"]
        lines.append(f"That is {-change['value']:.2f} [{-high:.2f}, {-low:.2f}] nearer than {_quoted(reference)}.")
    if found["not_ahead_of"]:
        names = ", ".join(map(_quoted, found["not_ahead_of"]))
        lines.append(f"Not shown to be worse, with as many prompts and images: {names}.")
    return lines


def _fewer_faces(methods: Mapping[str, MethodFigures], reference: str) -> list[str]:
    before = methods[reference].audited.figures["face_rate"]
    return [
        f"{_quoted(name)}: a face in {100 * entry.audited.figures['face_rate']:.0f} % of the images, "
        f"{_quoted(reference)} in {100 * before:.0f} %"
        for name, entry in methods.items()
        if entry.audited.figures["face_rate"] < before - _FEWER_FACES
    ]


def _against(name: str, results: Mapping[str, Any], figures: Mapping[str, Any]) -> dict[str, Any]:
    """One method against the reference: cells with their headings."""
    reference, found = results["reference"], results["differences"]
    cells = []
    for block in blocks_of(figures):
        for what, figure in (("distance", "tv"), ("bias", "bias")):
            cells.append((f"{what}, {title_of(block)}", difference_of(found, name, reference, block, figure), -1))
    for kind, words in (("similarities", "CLIP-T"), ("unrelated", "CLIP-T, unrelated")):
        if "clip_t" in results["methods"][name][kind]:
            cells.append((words, difference_of(found, name, reference, kind, "clip_t"), 1))
    return {"name": name, "cells": [_cell(title, change, good) for title, change, good in cells]}


def _pairs(methods: Mapping[str, MethodFigures], results: Mapping[str, Any], block: str) -> list[dict[str, Any]]:
    """Rows of the table of all pairs: distance of the row's method minus that of the column's."""
    found = results["differences"]
    return [
        {
            "name": first,
            "cells": [
                None if first == second else _cell("", difference_of(found, first, second, block, "tv"), -1)
                for second in methods
            ],
        }
        for first in methods
    ]


def _cell(title: str, change: Mapping[str, Any], good: int) -> dict[str, Any]:
    """A difference with a mark where it is shown to be one; `good` is the sign of a better method."""
    mark = ""
    if interval_excludes_zero(change["ci"]):
        mark = "within" if change["value"] * good > 0 else "off"
    return {"title": title, "value": change["value"], "ci": change["ci"], "mark": mark}


def _grids(
    methods: Mapping[str, MethodFigures], prompts: Sequence[str], classes: Classes, most: int
) -> list[dict[str, Any]]:
    """Per prompt a row of tiles a method, the same noise below each other."""
    grids = []
    for prompt in prompts:
        rows = []
        for name, entry in methods.items():
            folder, seen = entry.audited.folder, entry.audited.seen
            places = [
                place
                for place, image in enumerate(folder.images)
                if folder.prompts[image.prompt] == prompt and image.number < most and seen[place].damaged is None
            ]
            tiles = [tile(folder.root / folder.images[place].file, seen[place], classes) for place in places]
            rows.append({"method": name, "tiles": tiles})
        grids.append({"prompt": prompt, "rows": rows})
    return grids


def _unrelated_grids(folders: Mapping[str, tuple[ImageFolder, Sequence[Seen]]], most: int) -> list[dict[str, Any]]:
    """One image of each unrelated prompt, a row a method."""
    rows = []
    for name, (folder, seen) in folders.items():
        first = [p for p, image in enumerate(folder.images) if image.number == 0 and seen[p].damaged is None][:most]
        rows.append({"method": name, "tiles": [tile(folder.root / folder.images[p].file, seen[p], {}) for p in first]})
    return rows


def _similarity_columns(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Key and heading of the similarities that were measured."""
    return [(name, _SIMILARITY_TITLES[name]) for name in SIMILARITIES if name in found]


def _quoted(name: str) -> str:
    return f"“{name}”"
