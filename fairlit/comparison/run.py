"""Several methods under one judge: the same prompts, the same noise, one report."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fairlit.auditing.edits import count_edits
from fairlit.auditing.groups import measure_groups
from fairlit.auditing.measure import blocks_of, measure
from fairlit.auditing.outputs import (
    PER_IMAGE,
    REPORT,
    RESULTS,
    judge_limits,
    judge_lines,
    version_lines,
    write_charts,
    write_results,
    write_table,
)
from fairlit.auditing.report import Audited, ReportTexts
from fairlit.comparison.figures import (
    Grid,
    MethodFigures,
    differences,
    grid_rows,
    main_block,
    similarity_figures,
    similarity_grid,
    standing,
)
from fairlit.comparison.report import comparison_charts, comparison_report
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.generation import GenerationPlan, generate
from fairlit.generation.plan import describe_method
from fairlit.generation.run import load_backbone, missing_images
from fairlit.io.atomic import atomic_write_text
from fairlit.io.digests import fairlit_version
from fairlit.judging.features import Encoders, image_features
from fairlit.judging.image_folders import ImageFolder, find_images
from fairlit.judging.observations import Judge, Seen, observe_folder
from fairlit.metrics.semantics import swapped_similarity
from fairlit.pictures.files import UnreadableImageError, read_image

_SECONDS = ".seconds.jsonl"  # how long images took, for a report after a stop

Progress = Callable[[int], None]


@dataclass(frozen=True)
class ComparisonSettings:
    """What is compared, against what, and what is shown.

    Attributes:
        plans: name of a method -> how its images of the judged prompts are made; the same prompts, seed, number of
            images and model for all, each with a folder of its own.
        unrelated: the same for unrelated prompts; empty: none are looked at.
        reference: the method that samples every prompt as it stands; the others are compared with its images.
        target: what the images shall follow.
        out: folder for the report and the rest.
        tolerance: total variation distance to the target up to which a prompt counts as near it.
        seed: of bootstrap and Monte-Carlo draws.
        batch_size: images looked at together.
        report_prompts: prompts of which the report shows images.
        report_images: images that it shows of each.
        title: of the report.
        command: that makes this comparison again.
        device: where the models run.
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
    """How many images a comparison needs, and how many of them are not there yet.

    Raises:
        ConfigurationError: a folder holds images that were made otherwise.
    """
    plans = [*settings.plans.values(), *settings.unrelated.values()]
    missing = sum(len(images) for plan in plans for images in missing_images(plan))
    return sum(len(plan.prompts) * plan.images for plan in plans), missing


def make_images(settings: ComparisonSettings, progress: Progress = lambda count: None) -> None:
    """Generates what is missing; the model is loaded once and is the same for all methods.

    Args:
        settings: whose plans have been checked.
        progress: told how many images more there are.
    """
    backbone = None
    for plans in (settings.plans, settings.unrelated):
        for name, plan in plans.items():
            if backbone is None and missing_images(plan):
                backbone = load_backbone(plan, settings.device)

            def note(count: int, seconds: float, name: str = name) -> None:
                line = {"method": name, "device": settings.device, "images": count, "seconds": seconds}
                with (settings.out / _SECONDS).open("a", encoding="utf-8") as log:
                    log.write(json.dumps(line) + "\n")

            generate(plan, settings.device, progress, backbone, note)


def run_comparison(
    settings: ComparisonSettings, judge: Judge, encoders: Encoders, progress: Progress = lambda count: None
) -> dict[str, Any]:
    """Looks at all images, measures, draws, and writes all files.

    Args:
        settings: what to compare; the images are there.
        judge: who looks for faces and perceives attributes.
        encoders: what similarities are measured with.
        progress: told how many looks at an image more are done.

    Returns:
        The content of ``results.json``.
    """
    target = settings.target.reorder(judge.classifier.classes)
    methods, features = _look(settings, judge, encoders, target, progress)
    folders = {name: find_images(plan.out) for name, plan in settings.unrelated.items()}
    seconds = _seconds(settings.out / _SECONDS)
    described = {
        name: _describe(name, settings.plans[name], entry, seconds.get(name, {}), settings.seed)
        | _people(entry.audited, target, judge, settings.seed)
        for name, entry in methods.items()
    }
    found = differences(methods, target, settings.grid, settings.seed)
    blocks = blocks_of(methods[settings.reference].audited.figures)
    reference = settings.plans[settings.reference]
    results: dict[str, Any] = {
        "standing": {block: standing(found, methods, block) for block in blocks},
        "reference": settings.reference,
        "target": target.to_dict(),
        "tolerance": settings.tolerance,
        "model": reference.model,
        "prompts": len(reference.prompts),
        "images": reference.images,
        "methods": described,
        "differences": found,
        "clip_i_swapped": _swapped(features, methods[settings.reference], settings.grid),
        "judge": judge.describe(),
        "encoders": encoders.describe(),
        "device": settings.device,
        "seed": settings.seed,
        "version": fairlit_version(),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": settings.command,
    }
    prompts = _by_distance(methods[settings.reference].audited.figures)
    charts = comparison_charts(methods, results, prompts)
    write_charts(settings.out, charts)
    audited = {name: entry.audited for name, entry in methods.items()}
    write_table(settings.out / PER_IMAGE, audited, target, _columns(methods, settings.grid))
    shown = {name: (folders[name], _readable(folders[name])) for name in methods if name in folders}
    texts = ReportTexts(
        settings.title,
        settings.command,
        _provenance(settings, target, results),
        judge_limits(judge.classifier, target),
        settings.tolerance,
    )
    page = comparison_report(
        methods, results, charts, shown, prompts, texts, settings.report_prompts, settings.report_images
    )
    atomic_write_text(settings.out / REPORT, page)
    return write_results(settings.out / RESULTS, results)


def _grid(plan: GenerationPlan) -> Grid:
    return len(plan.prompts), plan.images


def _look(
    settings: ComparisonSettings, judge: Judge, encoders: Encoders, target: TargetDistribution, progress: Progress
) -> tuple[dict[str, MethodFigures], Tensor | None]:
    """Figures of all methods, the nearest to the target first, and CLIP's features of the reference's images."""
    names = [settings.reference, *(name for name in settings.plans if name != settings.reference)]
    methods: dict[str, MethodFigures] = {}
    originals: dict[str, dict[str, Tensor]] = {}
    for name in names:
        plan = settings.plans[name]
        folder = find_images(plan.out)
        notes = settings.out / f".seen_{plan.out.name}.jsonl"
        seen = observe_folder(folder, judge, notes, settings.batch_size, progress)
        audited = Audited(folder, seen, measure(folder, seen, target, settings.tolerance, settings.seed))
        kinds = {"judged": plan} | ({"unrelated": settings.unrelated[name]} if settings.unrelated else {})
        similar: dict[str, dict[str, Tensor]] = {"unrelated": {}}
        for kind, own in kinds.items():
            cache = settings.out / f".features_{kind}_{plan.out.name}.safetensors"
            features = _feature_grids(own, encoders, cache, settings.batch_size, progress)
            originals.setdefault(kind, features)
            similar[kind] = _similarities(features, originals[kind], own, encoders)
        methods[name] = MethodFigures(audited, similar["judged"], similar["unrelated"])

    def distance(name: str) -> float:
        figures = methods[name].audited.figures
        value = blocks_of(figures)[main_block(figures)]["tv"]
        return float("inf") if value != value else value

    return {name: methods[name] for name in sorted(methods, key=distance)}, originals["judged"].get("clip")


def _feature_grids(
    plan: GenerationPlan, encoders: Encoders, cache: Path, batch_size: int, progress: Progress
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
    features: Mapping[str, Tensor], originals: Mapping[str, Tensor], plan: GenerationPlan, encoders: Encoders
) -> dict[str, Tensor]:
    found = {}
    if "clip" in features:
        texts = encoders.text_features([prompt.text for prompt in plan.prompts])
        assert texts is not None
        found["clip_i"] = similarity_grid(features["clip"], originals["clip"])
        found["clip_t"] = similarity_grid(features["clip"], texts[:, None])
    if "dino" in features:
        found["dino"] = similarity_grid(features["dino"], originals["dino"])
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


def _describe(
    name: str, plan: GenerationPlan, entry: MethodFigures, seconds: Mapping[str, float], seed: int
) -> dict[str, Any]:
    return {
        "settings": describe_method(plan.method),
        "needs": list(plan.method.needs),
        "folder": str(plan.out),
        "seconds_an_image": seconds.get("an_image"),
        "seconds_to_prepare": seconds.get("to_prepare"),
        "figures": entry.audited.figures,
        "similarities": similarity_figures(entry.similarities, seed),
        "unrelated": similarity_figures(entry.unrelated, seed),
        "not_counted": [vars(skipped) for skipped in entry.audited.not_counted],
    }


def _people(audited: Audited, target: TargetDistribution, judge: Judge, seed: int) -> dict[str, Any]:
    """`edits` of the images, and `groups` where every face counts."""
    edits = count_edits(audited.folder, audited.seen, target.classes, judge.faces)
    if judge.faces == "largest":
        return {"edits": edits}
    return {"edits": edits, "groups": measure_groups(audited.folder, audited.seen, target, None, seed)}


def _seconds(log: Path) -> dict[str, dict[str, float]]:
    """Median seconds an image over batches, and to prepare, of each method on the device that it last ran on."""
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    by_method: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        try:
            entry = json.loads(line)
            by_method.setdefault(entry["method"], []).append(entry)
        except (ValueError, KeyError, TypeError):  # a line cut short by a kill
            continue
    found: dict[str, dict[str, float]] = {}
    for name, entries in by_method.items():
        own = [entry for entry in entries if entry["device"] == entries[-1]["device"]]
        rates = [entry["seconds"] / entry["images"] for entry in own if entry["images"]]
        prepared = [entry["seconds"] for entry in own if not entry["images"]]
        found[name] = {"an_image": statistics.median(rates)} if rates else {}
        found[name] |= {"to_prepare": statistics.median(prepared)} if prepared else {}
    return found


def _by_distance(figures: Mapping[str, Any]) -> list[str]:
    """Prompts, the one furthest from the target first, those without a face last."""
    block = main_block(figures)

    def distance(entry: Mapping[str, Any]) -> float:
        return blocks_of(entry)[block]["tv"] if entry["faces"] else -1.0

    return [entry["prompt"] for entry in sorted(figures["per_prompt"], key=distance, reverse=True)]


def _columns(methods: Mapping[str, MethodFigures], grid: Grid) -> dict[str, dict[str, list[float]]]:
    """Similarities in the order of each folder's images."""
    return {
        name: {
            figure: values.flatten()[grid_rows(entry.audited.folder, grid)].tolist()
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


def _provenance(settings: ComparisonSettings, target: TargetDistribution, results: Mapping[str, Any]) -> dict[str, str]:
    plan = settings.plans[settings.reference]
    return {
        "model": plan.model,
        "sampling": f"{plan.steps} steps, guidance {plan.guidance_scale:g} unless a method has its own, solver "
        f"{plan.solver}, seed {plan.seed}, {plan.images} images of each of {len(plan.prompts)} prompts",
        "target": json.dumps(target.to_dict(), ensure_ascii=False),
        **judge_lines(results["judge"]),
        "encoders": json.dumps(results["encoders"], ensure_ascii=False),
        "device": settings.device,
        "seed": f"{settings.seed} (bootstrap)",
        **version_lines(results["made"]),
    }
