"""Several methods under one judge: the same prompts, the same noise, one report."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fairlit.auditing.edits import count_edits
from fairlit.auditing.groups import measure_groups
from fairlit.auditing.judged_folder import JudgedFolder
from fairlit.auditing.measure import measure
from fairlit.auditing.outputs import PER_IMAGE, REPORT, judge_limits, origin, write_table
from fairlit.auditing.report import ReportOptions
from fairlit.comparison.figures import (
    Grid,
    MethodFigures,
    differences,
    grid_rows,
    similarity_figures,
    similarity_grid,
    standing,
)
from fairlit.faces.reliability import warn_of_errors
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.generation import GenerationPlan
from fairlit.generation.run import load_backbone, missing_images
from fairlit.generation.run import make_images as make_planned_images
from fairlit.io.atomic import atomic_write_text
from fairlit.io.digests import text_digest
from fairlit.io.notes import note_line, read_notes
from fairlit.judging.features import Encoders, image_features
from fairlit.judging.image_folders import ImageFolder, find_images
from fairlit.judging.observations import Judge, Seen, observe_folder
from fairlit.metrics.distribution import why_without_joint_classes
from fairlit.metrics.semantics import swapped_similarity
from fairlit.pictures.chart_forms import write_charts
from fairlit.pictures.files import UnreadableImageError, read_image
from fairlit.results.comparison import ComparisonResults, MethodResults

_SECONDS = ".seconds.jsonl"  # how long images took, for a report after a stop

Progress = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class ComparisonSettings:
    """What is compared, against what, and what is shown.

    Attributes:
        plans: name of a method -> how its images of the judged prompts are made; the same prompts, seed, number of
            images and model for all, each with a folder of its own.
        unrelated: the same for unrelated prompts; empty: none are looked at.
        reference: name of the unchanged model among the methods; the others are compared with its images.
        target: target distribution that the images shall follow.
        out: folder for the report and the rest.
        tolerance: total variation distance to the target up to which a prompt counts as near it.
        seed: seed of bootstrap and Monte-Carlo draws.
        batch_size: number of images looked at together.
        report_prompts: number of prompts of which the report shows images.
        report_images: number of images that it shows of each.
        title: heading of the report.
        command: command that makes this comparison again.
        device: device that the models run on.
    """

    plans: Mapping[str, GenerationPlan]
    unrelated: Mapping[str, GenerationPlan]
    reference: str
    target: TargetDistribution
    out: Path
    tolerance: float = 0.1
    seed: int = 0
    batch_size: int = 16
    report_prompts: int = 4
    report_images: int = 8
    title: str = "Comparison"
    command: str = ""
    device: str = "cpu"

    @property
    def grid(self) -> Grid:
        """Judged prompts, and images of each."""
        return _grid(self.plans[self.reference])


def planned_images(settings: ComparisonSettings) -> tuple[int, int]:
    """Return how many images a comparison needs, and how many of them are not there yet.

    Raises:
        ConfigurationError: a folder holds images that were made otherwise.
    """
    plans = [*settings.plans.values(), *settings.unrelated.values()]
    missing = sum(len(images) for plan in plans for images in missing_images(plan))
    return sum(len(plan.prompts) * plan.images for plan in plans), missing


def make_images(settings: ComparisonSettings, progress: Progress = lambda count: None) -> None:
    """Generate what is missing; the model is loaded once and is the same for all methods.

    Args:
        settings: settings whose plans have been checked.
        progress: function that is told the number of images made since the last call.
    """
    backbone = None
    for plans in (settings.plans, settings.unrelated):
        for name, plan in plans.items():
            if backbone is None and missing_images(plan):
                backbone = load_backbone(plan, settings.device)

            def note(count: int, seconds: float, name: str = name, plan: GenerationPlan = plan) -> None:
                line = {"method": name, "device": settings.device, "images": count, "seconds": seconds}
                line["made_with"] = _made_with(plan)
                with (settings.out / _SECONDS).open("a", encoding="utf-8") as log:
                    log.write(note_line(line))

            make_planned_images(plan, settings.device, progress, backbone=backbone, stopwatch=note)


def run_comparison(
    settings: ComparisonSettings, judge: Judge, encoders: Encoders, *, progress: Progress = lambda count: None
) -> ComparisonResults:
    """Look at all images, measure, draw, and write all files.

    Args:
        settings: what to compare; the images are there.
        judge: detector and classifier.
        encoders: encoders that similarities are measured with.
        progress: function that is told the number of looks at images since the last call.

    Returns:
        What stands in ``results.json``.
    """
    target = settings.target.reorder(judge.classifier.classes)
    warn_of_errors(judge.classifier.reliability, target.attributes, "classifier")
    methods, features = _look(settings, judge, encoders, target=target, progress=progress)
    results = _measure(settings, judge, encoders, target, methods, features)
    _write(settings, judge, target, methods, results)
    return results


def _measure(
    settings: ComparisonSettings,
    judge: Judge,
    encoders: Encoders,
    target: TargetDistribution,
    methods: Mapping[str, MethodFigures],
    features: Tensor | None,
) -> ComparisonResults:
    found = differences(methods, target, settings.grid, settings.seed)
    figures = {name: entry.judged.figures for name, entry in methods.items()}
    seconds = _seconds(settings.out / _SECONDS, settings.plans)
    reference = settings.plans[settings.reference]
    return ComparisonResults(
        standing={block: standing(found, figures, block) for block in figures[settings.reference].blocks},
        reference=settings.reference,
        target=target.to_dict(),
        tolerance=settings.tolerance,
        model=reference.model,
        prompts=len(reference.prompts),
        images=reference.images,
        methods={
            name: _method_results(settings, name, entry, judge=judge, seconds=seconds.get(name, _Seconds()))
            for name, entry in methods.items()
        },
        differences=found,
        clip_i_swapped=_swapped(features, methods[settings.reference], settings.grid),
        judge=judge.record(),
        encoders=encoders.record(),
        device=settings.device,
        origin=origin(settings.seed, settings.command),
    )


def _method_results(
    settings: ComparisonSettings, name: str, entry: MethodFigures, *, judge: Judge, seconds: _Seconds
) -> MethodResults:
    plan, judged, seed = settings.plans[name], entry.judged, settings.seed
    target = settings.target.reorder(judge.classifier.classes)
    groups = None
    if judge.faces == "all":
        groups = measure_groups(judged.folder, judged.seen, target, seed=seed)
    return MethodResults(
        settings=plan.method.describe(),
        needs=tuple(plan.method.needs),
        folder=str(plan.out),
        seconds_an_image=seconds.an_image,
        seconds_to_prepare=seconds.to_prepare,
        figures=judged.figures,
        similarities=similarity_figures(entry.similarities, seed),
        unrelated=similarity_figures(entry.unrelated, seed),
        not_counted=judged.not_counted,
        edits=count_edits(judged.folder, judged.seen, target.classes, selection=judge.faces),
        groups=groups,
    )


def _write(
    settings: ComparisonSettings,
    judge: Judge,
    target: TargetDistribution,
    methods: Mapping[str, MethodFigures],
    results: ComparisonResults,
) -> None:
    """Write all files; ``results.json`` comes last and says that the others are there."""
    from fairlit.comparison.report import comparison_charts, comparison_report

    charts = comparison_charts(results)
    write_charts(settings.out, charts)
    judged = {name: entry.judged for name, entry in methods.items()}
    write_table(settings.out / PER_IMAGE, judged, target, further=_columns(methods, settings.grid))
    folders = {name: find_images(plan.out) for name, plan in settings.unrelated.items()}
    unrelated = {name: (folders[name], _readable(folders[name])) for name in methods if name in folders}
    plan = settings.plans[settings.reference]
    sampling = (
        f"{plan.steps} steps, guidance {plan.guidance_scale:g} unless a method has its own, solver "
        f"{plan.solver}, seed {plan.seed}, {plan.images} images of each of {len(plan.prompts)} prompts"
    )
    options = ReportOptions(
        title=settings.title,
        judge_limits=judge_limits(judge.classifier, target),
        without_joint_classes=why_without_joint_classes(target),
        max_prompts=settings.report_prompts,
        max_images=settings.report_images,
    )
    page = comparison_report(results, judged, unrelated, charts=charts, sampling=sampling, options=options)
    atomic_write_text(settings.out / REPORT, page)
    results.write(settings.out / results.FILE)


def _grid(plan: GenerationPlan) -> Grid:
    return len(plan.prompts), plan.images


def _look(
    settings: ComparisonSettings, judge: Judge, encoders: Encoders, *, target: TargetDistribution, progress: Progress
) -> tuple[dict[str, MethodFigures], Tensor | None]:
    """Figures of all methods, the nearest to the target first, and CLIP's features of the reference's images."""
    names = [settings.reference, *(name for name in settings.plans if name != settings.reference)]
    methods: dict[str, MethodFigures] = {}
    references: dict[str, dict[str, Tensor]] = {}
    for name in names:
        plan = settings.plans[name]
        folder = find_images(plan.out)
        notes = settings.out / f".seen_{plan.out.name}.jsonl"
        seen = observe_folder(folder, judge, notes, batch_size=settings.batch_size, progress=progress)
        figures = measure(folder, seen, target, tolerance=settings.tolerance, seed=settings.seed)
        kinds = {"judged": plan} | ({"unrelated": settings.unrelated[name]} if settings.unrelated else {})
        similar: dict[str, dict[str, Tensor]] = {"unrelated": {}}
        for kind, own in kinds.items():
            cache = settings.out / f".features_{kind}_{plan.out.name}.safetensors"
            features = _feature_grids(own, encoders, cache, batch_size=settings.batch_size, progress=progress)
            references.setdefault(kind, features)
            similar[kind] = _similarities(features, references[kind], own, encoders=encoders)
        methods[name] = MethodFigures(JudgedFolder(folder, seen, figures), similar["judged"], similar["unrelated"])

    def distance(name: str) -> float:
        figures = methods[name].judged.figures
        tv = figures.blocks[figures.main_block].tv
        return tv.value if tv.known else float("inf")

    return {name: methods[name] for name in sorted(methods, key=distance)}, references["judged"].get("clip")


def _feature_grids(
    plan: GenerationPlan, encoders: Encoders, cache: Path, *, batch_size: int, progress: Progress
) -> dict[str, Tensor]:
    """Features [P, n, D] of the images of a plan, NaN where one is missing."""
    folder = find_images(plan.out)
    prompts, images = _grid(plan)
    rows = grid_rows(folder, (prompts, images))
    grids = {}
    for name, features in image_features(folder, encoders, cache, batch_size, progress).items():
        grid = torch.full((prompts * images, features.shape[1]), torch.nan)
        grid[rows] = features
        grids[name] = grid.view(prompts, images, -1)
    return grids


def _similarities(
    features: Mapping[str, Tensor], references: Mapping[str, Tensor], plan: GenerationPlan, *, encoders: Encoders
) -> dict[str, Tensor]:
    found = {}
    if "clip" in features:
        texts = encoders.text_features([prompt.text for prompt in plan.prompts])
        assert texts is not None
        found["clip_i"] = similarity_grid(features["clip"], references["clip"])
        found["clip_t"] = similarity_grid(features["clip"], texts[:, None])
    if "dino" in features:
        found["dino"] = similarity_grid(features["dino"], references["dino"])
    return found


def _swapped(features: Tensor | None, reference: MethodFigures, grid: Grid) -> float | None:
    """What CLIP-I would be if every image were one of another prompt."""
    if features is None:
        return None
    rows = features.flatten(0, 1)
    prompts = torch.arange(grid[0]).repeat_interleave(grid[1])
    there = ~rows.isnan().any(dim=1)
    if len(prompts[there].unique()) < 2:
        return None
    return swapped_similarity(rows[there], prompts[there])


@dataclass(frozen=True)
class _Seconds:
    """Median seconds of a method, as far as it was timed."""

    an_image: float | None = None
    to_prepare: float | None = None


def _made_with(plan: GenerationPlan) -> str:
    """Name of the settings of a plan's images."""
    return text_digest(json.dumps(plan.common_parameters(), sort_keys=True))


def _seconds(log: Path, plans: Mapping[str, GenerationPlan]) -> dict[str, _Seconds]:
    """Median seconds an image over batches, and to prepare, of each method on the device that it last ran on.

    Images of other settings, which `overwrite` has replaced, do not count.
    """
    made_with = {name: _made_with(plan) for name, plan in plans.items()}
    by_method: dict[str, list[Mapping[str, Any]]] = {}
    for entry in read_notes(log):
        if entry is not None and entry.get("made_with") == made_with.get(entry["method"]):
            by_method.setdefault(entry["method"], []).append(entry)
    found: dict[str, _Seconds] = {}
    for name, entries in by_method.items():
        own = [entry for entry in entries if entry["device"] == entries[-1]["device"]]
        rates = [entry["seconds"] / entry["images"] for entry in own if entry["images"]]
        prepared = [entry["seconds"] for entry in own if not entry["images"]]
        found[name] = _Seconds(
            statistics.median(rates) if rates else None, statistics.median(prepared) if prepared else None
        )
    return found


def _columns(methods: Mapping[str, MethodFigures], grid: Grid) -> dict[str, dict[str, list[float]]]:
    """Similarities in the order of each folder's images."""
    return {
        name: {
            figure: values.flatten()[grid_rows(entry.judged.folder, grid)].tolist()
            for figure, values in entry.similarities.items()
        }
        for name, entry in methods.items()
    }


def _readable(folder: ImageFolder) -> Sequence[Seen]:
    """Whether the first image of each prompt can be shown; the others are not opened."""
    seen = []
    for image in folder.images:
        entry = Seen()
        if image.number == 0:
            try:
                read_image(folder.root / image.file)
            except UnreadableImageError as error:
                entry = Seen(damaged=str(error))
        seen.append(entry)
    return seen
