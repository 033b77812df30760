"""An audit from images to files: look, measure, draw, write."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fairlit.auditing.charts import draw, joint_chart, prompts_chart, shares_chart
from fairlit.auditing.corrections import corrected_figures
from fairlit.auditing.group_charts import people_chart
from fairlit.auditing.groups import CompositionTargets, measure_groups
from fairlit.auditing.measure import JOINT, blocks_of, measure, verdict
from fairlit.auditing.outputs import (
    PER_FACE,
    PER_IMAGE,
    REPORT,
    RESULTS,
    judge_limits,
    judge_lines,
    version_lines,
    write_charts,
    write_faces,
    write_results,
    write_table,
)
from fairlit.auditing.report import Audited, Further, ReportTexts, audit_report
from fairlit.auditing.similarities import measure_similarities
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.statistics.sample_size import images_for_frequency
from fairlit.io.atomic import atomic_write_text
from fairlit.io.digests import fairlit_version
from fairlit.judging.features import Encoders
from fairlit.judging.image_folders import ImageFolder
from fairlit.judging.observations import Judge, observe_folder

_NOTES = ".seen"  # what was seen in each image, for going on after a stop


@dataclass(frozen=True)
class AuditSettings:
    """What is audited, against what, and what is shown.

    Attributes:
        folder: the images.
        target: what they shall follow.
        out: folder for the report and the rest.
        original: images of the original model, for the same prompts; None: none.
        tolerance: total variation distance to the target up to which a prompt counts as near it.
        seed: of bootstrap and Monte-Carlo draws.
        batch_size: images looked at together.
        report_prompts: prompts of which the report shows images.
        report_images: images that it shows of each.
        title: of the report.
        command: that makes this audit again.
        compositions: attribute -> number of people -> composition -> share that the images with so many people shall
            show; where there is none, people drawn independently from the target.
    """

    folder: ImageFolder
    target: TargetDistribution
    out: Path
    original: ImageFolder | None = None
    tolerance: float = 0.1
    seed: int = 0
    batch_size: int = 16
    report_prompts: int = 12
    report_images: int = 8
    title: str = "Audit"
    command: str = ""
    compositions: Mapping[str, CompositionTargets] = field(default_factory=dict)


def run_audit(
    settings: AuditSettings,
    judge: Judge,
    encoders: Encoders | None = None,
    progress: Callable[[int], None] = lambda count: None,
) -> dict[str, Any]:
    """Audits a folder and writes all files.

    Args:
        settings: what to audit.
        judge: who looks at the images.
        encoders: what images are compared with prompts and originals by; None: they are not.
        progress: told how many looks at an image more are done.

    Returns:
        The content of ``results.json``.

    Raises:
        ConfigurationError: the target names classes that the classifier does not know.
    """
    target = settings.target.reorder(judge.classifier.classes)
    encoders = encoders or Encoders()

    def look(folder: ImageFolder, name: str) -> Audited:
        seen = observe_folder(folder, judge, settings.out / f"{_NOTES}_{name}.jsonl", settings.batch_size, progress)
        return Audited(folder, seen, measure(folder, seen, target, settings.tolerance, settings.seed))

    audited = look(settings.folder, "audited")
    original = look(settings.original, "original") if settings.original else None
    further = Further(
        corrected_figures(audited.figures, target, judge.classifier.confusion, settings.seed),
        measure_similarities(
            audited, original, encoders, settings.out / ".features", settings.batch_size, progress, settings.seed
        ),
        images_for_frequency(2 * settings.tolerance),
        measure_groups(audited.folder, audited.seen, target, settings.compositions, settings.seed)
        if judge.faces == "all"
        else None,
    )
    results = {
        "verdict": verdict(audited.figures, settings.tolerance),
        "target": target.to_dict(),
        "tolerance": settings.tolerance,
        "judge": judge.describe(),
        "encoders": encoders.describe() if encoders.by_name else None,
        "audited": _describe(audited),
        "figures": audited.figures,
        **vars(further),
        "original": None if original is None else {**_describe(original), "figures": original.figures},
        "seed": settings.seed,
        "version": fairlit_version(),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": settings.command,
    }
    folders = {"audited": audited} | ({"original": original} if original else {})
    write_table(settings.out / PER_IMAGE, folders, target)
    charts = draw_charts(audited, original)
    if further.groups is not None:
        write_faces(settings.out / PER_FACE, folders, target)
        charts |= {"people": draw(people_chart(further.groups["found"]))} if further.groups["found"] else {}
    write_charts(settings.out, charts)
    texts = ReportTexts(
        settings.title,
        settings.command,
        _provenance(settings, target, results),
        judge_limits(judge.classifier, target),
        settings.tolerance,
    )
    page = audit_report(
        audited,
        original,
        results["verdict"],
        charts,
        target.classes,
        texts,
        further,
        settings.report_prompts,
        settings.report_images,
    )
    atomic_write_text(settings.out / REPORT, page)
    return write_results(settings.out / RESULTS, results)


def draw_charts(audited: Audited, original: Audited | None) -> dict[str, dict[str, bytes]]:
    """All charts of a report in all their forms; none where no face was found."""
    figures, before = audited.figures, original.figures if original and original.figures["faces"] else None
    if not figures["faces"]:
        return {}
    charts = {"shares": draw(shares_chart(figures, before))}
    for place, name in enumerate(figures["attributes"]):
        charts[f"prompts_{name}"] = draw(prompts_chart(figures, name, place, before))
    if JOINT in blocks_of(figures):
        charts["joint"] = draw(joint_chart(figures))
    return charts


def _describe(audited: Audited) -> dict[str, Any]:
    statuses = [entry.status for entry in audited.seen]
    return {
        "folder": str(audited.folder.root),
        "layout": audited.folder.layout,
        "prompts": len(audited.folder.prompts),
        "images": len(statuses),
        "with_face": statuses.count("face"),
        "no_face": statuses.count("no face"),
        "damaged": statuses.count("damaged"),
        "skipped": len(audited.folder.skipped),
        "not_counted": [asdict(entry) for entry in audited.not_counted],
        "without_face": [entry.file for entry in audited.without_face],
    }


def _provenance(settings: AuditSettings, target: TargetDistribution, results: Mapping[str, Any]) -> dict[str, str]:
    lines = {
        "images": f"{settings.folder.root} ({settings.folder.layout} layout)",
        "target": json.dumps(target.to_dict(), ensure_ascii=False),
        **judge_lines(results["judge"]),
        "seed": str(settings.seed),
        **version_lines(results["made"]),
    }
    if results["encoders"] is not None:
        lines["encoders"] = json.dumps(results["encoders"], ensure_ascii=False)
    if settings.original is not None:
        lines["original"] = f"{settings.original.root} ({settings.original.layout} layout)"
    return lines
