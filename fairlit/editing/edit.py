"""Finished images, brought to a target distribution by regenerating as few faces as possible."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

import torch

from fairlit.diffusion import Backbone
from fairlit.diffusion.inpainting import check_steps
from fairlit.diffusion.schedulers import check_sampling
from fairlit.diffusion.text_length import open_tokenizer
from fairlit.editing.config import IMAGES, EditConfig
from fairlit.editing.run import EditingPlan, edit_folder, finished_sets
from fairlit.editing.summary import edits_picture, summarise
from fairlit.errors import Problems
from fairlit.faces.classifier_files import load_classifier
from fairlit.faces.detector_files import load_detector
from fairlit.faces.reliability import warn_of_errors
from fairlit.functional.alignment.target_distribution import TargetDistribution, read_target
from fairlit.io.atomic import atomic_path
from fairlit.io.devices import choose_device
from fairlit.io.wording import counted
from fairlit.judging.config import find_folders
from fairlit.judging.observations import Judge
from fairlit.judging.unknown_prompts import check_prompts
from fairlit.mitigation import OutputEditing, SamplingPlan
from fairlit.mitigation.method import check_wordings
from fairlit.results.edits import EditingResults
from fairlit.terminal import progress_bar, quieten_libraries
from fairlit.version import fairlit_version

_LOG = logging.getLogger(__name__)

PICTURE, RESULTS = "before_after.png", "results.json"


def edit(config: EditConfig, *, command: str = "") -> EditingResults:
    """Bring finished images to a target distribution by regenerating the fewest faces that have to change.

    Each is inpainted under a prompt that names what it is to show, and kept if the classifier sees that; everything
    else in the images stays bit-identical. Stopped or killed, the same call resumes.

    Args:
        config: settings. Everything in it is checked before weights are loaded.
        command: command line that makes these edits again, for the results.

    Returns:
        The content of results.json.

    Raises:
        ConfigurationError: the settings are wrong; lists everything that is.
        CheckpointError: a model is damaged.
    """
    quieten_libraries()
    with Problems("edit") as problems:
        config.check_paths(problems)
        device = choose_device(config.device, problems)
        target = read_target(config.target, problems)
        config.check_auditor(target, problems)
        plan = _plan(config, target, problems)
        if plan is not None and not problems.messages:
            with problems.collecting():
                done = finished_sets(plan)
            if (tokenizer := open_tokenizer(plan.model)) is not None:
                check_wordings(plan.method, dict.fromkeys(plan.folder.prompts, plan.target), tokenizer, problems)
    assert plan is not None
    backbone = Backbone.load(plan.model, dtype=getattr(torch, plan.precision), solver=plan.solver).to(device)
    editor = plan.method.face_editor(backbone, plan.sampling, plan.target)
    auditor = _auditor(config, plan.method, plan.target, device)
    with progress_bar("edited images", sum(map(len, plan.sets().values()))) as advance:
        records = edit_folder(plan, editor, auditor, progress=advance)
    there = f", {len(done)} of them before" if done else ""
    _LOG.info("edited   %s of images%s: %s", counted(len(records), "set"), there, plan.out)
    picture = edits_picture(plan.folder.root, plan.out / IMAGES, records, editor=editor)
    if picture is not None:
        with atomic_path(plan.out / PICTURE) as path:
            picture.save(path)
    results = EditingResults(
        summary=summarise(records, editor.target),
        settings=plan.describe(),
        command=command,
        version=fairlit_version(),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        skipped=tuple(plan.folder.skipped),
        sets=tuple(records),
    )
    results.write(plan.out / RESULTS)
    return results


def _plan(config: EditConfig, target: TargetDistribution | None, problems: Problems) -> EditingPlan | None:
    """What the settings ask for; None, and notes, where that is not known."""
    folders = find_folders([config.folder], config, problems)
    for folder in folders:
        check_prompts(folder, problems)
    sampling, method = None, None
    with problems.collecting():
        sampling = SamplingPlan(config.steps, config.guidance_scale, config.batch_size)
    if config.classifier is not None:
        with problems.collecting():
            method = config.method()
    if method is not None and target is not None:
        method.check(target, problems)
    if (
        not folders
        or target is None
        or config.model is None
        or config.out is None
        or sampling is None
        or method is None
    ):
        return None
    check_steps(config.steps, method.editing.strength, problems)
    if not problems.messages:
        check_sampling(config.model, config.solver, [config.steps], problems=problems, subject="model")
    return EditingPlan(
        folder=folders[0],
        out=Path(config.out),
        method=method,
        target=target,
        sampling=sampling,
        model=config.model,
        scope=config.scope,
        solver=config.solver,
        precision=config.precision,
        audit_classifier=config.audit_classifier,
        overwrite=config.overwrite,
    )


def _auditor(config: EditConfig, method: OutputEditing, target: TargetDistribution, device: str) -> Judge | None:
    """Who is asked about the edits: another classifier, with the method's detector."""
    if config.audit_classifier is None:
        return None
    detector = load_detector(method.detector, method.detection)
    classifier = load_classifier(config.audit_classifier)
    warn_of_errors(classifier.reliability, target.attributes, "audit_classifier")
    return Judge(detector.to(device), classifier.to(device), {"classifier": config.audit_classifier}, "all")
