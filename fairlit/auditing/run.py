"""An audit from images to files: look, measure, draw, write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fairlit.auditing.corrections import corrected_figures
from fairlit.auditing.groups import CompositionTargets, measure_groups
from fairlit.auditing.judged_folder import JudgedFolder
from fairlit.auditing.measure import measure, verdict
from fairlit.auditing.outputs import PER_FACE, PER_IMAGE, REPORT, judge_limits, origin, write_faces, write_table
from fairlit.auditing.second_classifier import measure_second_classifier
from fairlit.auditing.similarities import measure_similarities
from fairlit.faces.reliability import warn_of_errors
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.statistics.sample_size import images_for_frequency
from fairlit.io.atomic import atomic_write_text
from fairlit.judging.features import Encoders
from fairlit.judging.image_folders import ImageFolder
from fairlit.judging.observations import Judge, observe_folder
from fairlit.metrics.distribution import why_without_joint_classes
from fairlit.pictures.chart_forms import Chart, write_charts
from fairlit.results.audit import AuditResults, ReferenceImages

_NOTES = ".seen"  # what was seen in each image, for going on after a stop

Progress = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class AuditSettings:
    """What is audited, against what, and what is shown.

    Attributes:
        folder: images to audit.
        target: target distribution that they shall follow.
        out: folder for the report and the rest.
        reference: images of the unchanged model, for the same prompts; None: none.
        tolerance: total variation distance to the target up to which a prompt counts as near it.
        seed: seed of bootstrap and Monte-Carlo draws.
        batch_size: number of images looked at together.
        report_prompts: number of prompts of which the report shows images.
        report_images: number of images that it shows of each.
        title: heading of the report.
        command: command that makes this audit again.
        compositions: attribute -> number of people -> composition -> share that the images with so many people shall
            show; where there is none, people drawn independently from the target.
        doubts: sentences for the top of the report and for the results, on what figures may not be relied on for.
    """

    folder: ImageFolder
    target: TargetDistribution
    out: Path
    reference: ImageFolder | None = None
    tolerance: float = 0.1
    seed: int = 0
    batch_size: int = 16
    report_prompts: int = 12
    report_images: int = 8
    title: str = "Audit"
    command: str = ""
    compositions: Mapping[str, CompositionTargets] = field(default_factory=dict)
    doubts: Sequence[str] = ()


def run_audit(
    settings: AuditSettings,
    judge: Judge,
    encoders: Encoders | None = None,
    *,
    progress: Progress = lambda count: None,
) -> AuditResults:
    """Audit a folder and write all files.

    Args:
        settings: what to audit.
        judge: detector and classifier.
        encoders: encoders that images are compared with prompts and reference images by; None: they are not.
        progress: function that is told the number of looks at images since the last call.

    Returns:
        What stands in ``results.json``.

    Raises:
        ConfigurationError: the target names classes that a classifier does not know.
    """
    target = settings.target.reorder(judge.classifier.classes)
    warn_of_errors(judge.classifier.reliability, target.attributes, "classifier")
    if judge.second is not None:
        settings.target.reorder(judge.second.classes)  # which says what does not fit
        warn_of_errors(judge.second.reliability, target.attributes, "second_classifier")

    def look(folder: ImageFolder, name: str) -> JudgedFolder:
        seen = observe_folder(
            folder, judge, settings.out / f"{_NOTES}_{name}.jsonl", batch_size=settings.batch_size, progress=progress
        )
        figures = measure(folder, seen, target, tolerance=settings.tolerance, seed=settings.seed)
        return JudgedFolder(folder, seen, figures)

    audited = look(settings.folder, "audited")
    reference = None if settings.reference is None else look(settings.reference, "reference")
    results = _measure(settings, target, audited, reference, judge, encoders or Encoders(), progress)
    _write(settings, target, audited, reference, judge, results)
    return results


def _measure(
    settings: AuditSettings,
    target: TargetDistribution,
    audited: JudgedFolder,
    reference: JudgedFolder | None,
    judge: Judge,
    encoders: Encoders,
    progress: Progress,
) -> AuditResults:
    return AuditResults(
        verdict=verdict(audited.figures, settings.tolerance),
        target=target.to_dict(),
        tolerance=settings.tolerance,
        judge=judge.record(),
        encoders=encoders.record() if encoders.by_name else None,
        audited=audited.record(),
        figures=audited.figures,
        corrected=corrected_figures(audited.figures, target, judge.classifier.confusion, seed=settings.seed),
        similarities=measure_similarities(
            audited,
            reference,
            encoders,
            cache=settings.out / ".features",
            batch_size=settings.batch_size,
            progress=progress,
            seed=settings.seed,
        ),
        images_for_tolerance=images_for_frequency(2 * settings.tolerance),
        second_classifier=None
        if judge.second is None
        else measure_second_classifier(audited, target, seed=settings.seed),
        groups=measure_groups(
            audited.folder, audited.seen, target, compositions=settings.compositions, seed=settings.seed
        )
        if judge.faces == "all"
        else None,
        reference_images=None
        if reference is None
        else ReferenceImages(folder=reference.record(), figures=reference.figures),
        origin=origin(settings.seed, settings.command),
        doubts=tuple(settings.doubts) or None,
    )


def _write(
    settings: AuditSettings,
    target: TargetDistribution,
    audited: JudgedFolder,
    reference: JudgedFolder | None,
    judge: Judge,
    results: AuditResults,
) -> None:
    """Write all files; ``results.json`` comes last and says that the others are there."""
    from fairlit.auditing.report import ReportOptions, audit_report

    folders = {"audited": audited} | ({} if reference is None else {"reference": reference})
    write_table(settings.out / PER_IMAGE, folders, target)
    if results.groups is not None:
        write_faces(settings.out / PER_FACE, folders, target)
    charts = draw_charts(results)
    write_charts(settings.out, charts)
    options = ReportOptions(
        title=settings.title,
        judge_limits=judge_limits(judge.classifier, target),
        without_joint_classes=why_without_joint_classes(target),
        max_prompts=settings.report_prompts,
        max_images=settings.report_images,
    )
    page = audit_report(results, audited, reference, charts=charts, options=options, doubts=settings.doubts)
    atomic_write_text(settings.out / REPORT, page)
    results.write(settings.out / results.FILE)


def draw_charts(results: AuditResults) -> dict[str, Chart]:
    """Return all charts of a report; none where no face was found."""
    figures, charts = results.figures, dict[str, Chart]()
    if figures.faces:
        from fairlit.auditing.charts import joint_chart, prompts_chart, shares_chart
        from fairlit.pictures.chart_style import draw

        before = None if results.reference_images is None else results.reference_images.figures
        before = before if before is not None and before.faces else None
        charts["shares"] = draw(shares_chart(figures, before))
        for place, name in enumerate(figures.attributes):
            charts[f"prompts_{name}"] = draw(prompts_chart(figures, name, place=place, reference=before))
        if figures.joint_classes is not None:
            charts["joint"] = draw(joint_chart(figures))
    if results.groups is not None and results.groups.found:
        from fairlit.auditing.group_charts import people_chart
        from fairlit.pictures.chart_style import draw

        charts["people"] = draw(people_chart(results.groups.found))
    return charts
