"""Audits: a folder of images, or a model that they are generated with first, judged against a target."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from fairlit.auditing.config import AuditConfig
from fairlit.auditing.outputs import FILES, RESULTS
from fairlit.auditing.run import AuditSettings, run_audit
from fairlit.errors import Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.statistics.composition import read_compositions
from fairlit.io.devices import choose_device
from fairlit.io.foreign_text import printable
from fairlit.judging.config import find_folders
from fairlit.judging.earlier_results import begin_results, check_earlier_results, settings_of
from fairlit.judging.image_folders import ImageFolder, find_images
from fairlit.judging.unknown_prompts import prompt_doubts
from fairlit.results.audit import AuditResults
from fairlit.results.record import PlainData
from fairlit.terminal import progress_bar, quieten_libraries

if TYPE_CHECKING:
    from fairlit.generation.plan import GenerationPlan

_LOG = logging.getLogger(__name__)


def audit(config: AuditConfig, *, command: str = "") -> AuditResults:
    """Judge images by a detector and a classifier of perceived attributes against a target distribution.

    Writes report.html, results.json, per_image.csv and figures. Stopped or killed, the same call resumes.

    Args:
        config: settings. Everything in it is checked before weights are loaded.
        command: command line that makes this audit again, for the report.

    Returns:
        The content of results.json.

    Raises:
        ConfigurationError: the settings are wrong; lists everything that is.
        CheckpointError: a model is damaged.
    """
    folders: list[ImageFolder] = []
    plans: list[GenerationPlan] = []
    out = Path(config.out or ".")
    with Problems("audit") as problems:
        config.check_report(problems)
        config.check_sources(problems)
        device = choose_device(config.device, problems)
        target = config.check_judge(problems)
        config.check_second_classifier(config.classifier, target, problems)
        compositions = read_compositions(config.compositions, target, problems) if target is not None else {}
        if config.generates:
            plans = _plans(config, target, out, problems)
        elif config.folder is not None:
            folders = find_folders([config.folder, config.reference], config, problems)
        noted: PlainData = {}
        if target is not None and not problems.messages:
            noted = settings_of(config, target, {plan.method.name: plan.method for plan in plans})
            check_earlier_results(out, noted, RESULTS, overwrite=config.overwrite, problems=problems)
    assert target is not None
    begin_results(out, noted, FILES, overwrite=config.overwrite)
    folders = folders or [_made(plan, device) for plan in plans]
    doubts = prompt_doubts(folders, clip=config.clip is not None)
    for doubt in doubts:
        _LOG.warning("warning  %s", doubt)
    settings = AuditSettings(
        folder=folders[0],
        target=target,
        out=out,
        reference=folders[1] if len(folders) > 1 else None,
        tolerance=config.tolerance,
        seed=config.bootstrap_seed,
        batch_size=config.batch_size,
        report_prompts=config.report_prompts,
        report_images=config.report_images,
        title=printable(config.title or f"Audit of {_subject(config)}"),
        command=command,
        compositions=compositions,
        doubts=doubts,
    )
    judge, encoders = config.with_second(config.load_judge(device)), config.load_encoders(device)
    total = sum(len(folder.images) for folder in folders)
    with progress_bar("judged images", total * (1 + bool(encoders.by_name))) as advance:
        return run_audit(settings, judge, encoders, progress=advance)


def _plans(
    config: AuditConfig, target: TargetDistribution | None, out: Path, problems: Problems
) -> list[GenerationPlan]:
    """The images to audit and, where a method changes the model, the unchanged model's from the same noise."""
    from fairlit.mitigation import NoMitigation

    quieten_libraries()
    method = config.chosen(problems)
    prompts = config.read(problems)
    if not prompts:
        return []
    if any(prompt.target not in (None, target) for prompt in prompts):
        problems.add("prompts: some have targets of their own; audit them family by family, each with its --target")
    plan = config.plan(
        prompts,
        out / "images",
        method=method,
        target=target,
        batch_size=config.batch_size,
        overwrite=config.overwrite,
    )
    plan.check(problems)
    if plan.method.is_unchanged_model:
        return [plan]
    return [plan, dataclasses.replace(plan, method=NoMitigation(), out=out / "original")]


def _made(plan: GenerationPlan, device: str) -> ImageFolder:
    """The images of a plan; those that are missing are made first."""
    from fairlit.generation.generate import make_planned

    make_planned(plan, device)
    return find_images(plan.out)


def _subject(config: AuditConfig) -> str:
    if not config.generates:
        return str(config.folder)
    return f"{config.adaptor} on {config.model}" if config.adaptor else str(config.model)
