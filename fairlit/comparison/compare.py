"""Comparisons: mitigation methods beside each other, on the same prompts and noise, under one judge."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fairlit.auditing.outputs import FILES, RESULTS
from fairlit.comparison.config import CompareConfig
from fairlit.comparison.run import ComparisonSettings, make_images, planned_images, run_comparison
from fairlit.data.prompts.families import Prompt
from fairlit.errors import Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.generation.plan import GenerationPlan
from fairlit.io.devices import choose_device
from fairlit.io.wording import counted
from fairlit.judging.earlier_results import begin_results, check_earlier_results, settings_of
from fairlit.mitigation import FinetunedAdaptor, NoMitigation
from fairlit.mitigation.method import Method
from fairlit.results.comparison import ComparisonResults
from fairlit.terminal import progress_bar, quieten_libraries

_LOG = logging.getLogger(__name__)

REFERENCE = "unchanged model"
"""Name of the unchanged model where no method of a comparison is it."""


def compare(config: CompareConfig, *, command: str = "") -> ComparisonResults:
    """Generate images by several methods from the same prompts and the same noise, and judge them alike.

    Writes report.html, results.json, per_image.csv and figures. Stopped or killed, the same call resumes.

    Args:
        config: settings. Everything in it is checked before weights are loaded.
        command: command line that makes this comparison again, for the report.

    Returns:
        The content of results.json.

    Raises:
        ConfigurationError: the settings are wrong; lists everything that is.
        CheckpointError: a model or adaptor is damaged.
    """
    quieten_libraries()
    settings = None
    with Problems("compare") as problems:
        config.check_report(problems)
        config.check_numbers(problems)
        device = choose_device(config.device, problems)
        target = config.check_judge(problems)
        methods = _methods(config, problems)
        plans, unrelated = _plans(config, methods, target, problems)
        if plans and target is not None:
            settings = ComparisonSettings(
                plans=plans,
                unrelated=unrelated,
                reference=next(name for name, plan in plans.items() if plan.method.is_unchanged_model),
                target=target,
                out=Path(config.out or "."),
                tolerance=config.tolerance,
                seed=config.bootstrap_seed,
                batch_size=config.batch_size,
                report_prompts=config.report_prompts,
                report_images=config.report_images,
                title=config.title or f"Methods on {config.model}",
                command=command,
                device=device,
            )
            if not problems.messages:
                noted = settings_of(config, target, {name: plan.method for name, plan in plans.items()})
                check_earlier_results(settings.out, noted, RESULTS, overwrite=config.overwrite, problems=problems)
            if not problems.messages:
                total, missing = planned_images(settings)
    assert settings is not None
    begin_results(settings.out, noted, FILES, overwrite=config.overwrite)
    _generate(settings, total, missing)
    judge, encoders = config.load_judge(device), config.load_encoders(device)
    judged = len(plans) * len(settings.plans[settings.reference].prompts) * config.images
    with progress_bar("judged images", judged + (total if encoders.by_name else 0)) as advance:
        return run_comparison(settings, judge, encoders, progress=advance)


def _generate(settings: ComparisonSettings, total: int, missing: int) -> None:
    """Make the images that are missing of all methods, and say so."""
    for plans in (settings.plans, settings.unrelated):
        if settings.reference in plans:
            plans[settings.reference].warn_of_cut_prompts()
    count = len(settings.plans)
    with progress_bar(f"images by {count} methods", total, done=total - missing) as advance:
        make_images(settings, advance)
    there = f", {total - missing} were there already" if missing < total else ""
    what = f"{counted(missing, 'image')} by {counted(count, 'method')}"
    _LOG.info("made     %s%s: %s", what, there, settings.out / "images")


def _methods(config: CompareConfig, problems: Problems) -> dict[str, Method]:
    """The methods by name, the unchanged model among them."""
    methods = dict(config.methods)
    if config.adaptor is not None:
        adaptors = [name for name, method in methods.items() if method.takes_adaptor]
        if len(adaptors) > 1:
            problems.add(f"adaptor: could take the place of {', '.join(adaptors)}; give the paths in the config")
        methods |= {name: FinetunedAdaptor(config.adaptor) for name in adaptors or ["adaptor"]}
    plain = [name for name, method in methods.items() if method.is_unchanged_model]
    if len(plain) > 1:
        problems.add(f"methods: {' and '.join(plain)} are both the unchanged model; leave one of them out")
    if not plain:
        if REFERENCE in methods:
            problems.add(f"methods: {REFERENCE!r} is the name of the model as it is; give that method another name")
        plain, methods = [REFERENCE], {REFERENCE: NoMitigation(), **methods}
    if config.only is not None:
        unknown = [name for name in config.only if name not in methods]
        if unknown:
            problems.add(f"only: got {unknown[0]!r}; expected names of methods; choose from {', '.join(methods)}")
        methods = {name: method for name, method in methods.items() if name in {*config.only, *plain}}
    if len(methods) < 2:
        problems.add("methods: got none to compare with the unchanged model; give --config with methods, or --adaptor")
    folders: dict[str, str] = {}
    for name in methods:
        other = folders.setdefault(folder_of(name), name)
        if other != name or not folder_of(name):
            problems.add(f"methods: {name!r} gives no folder name of its own; use other letters and digits")
    return methods


def _plans(
    config: CompareConfig, methods: Mapping[str, Method], target: TargetDistribution | None, problems: Problems
) -> tuple[dict[str, GenerationPlan], dict[str, GenerationPlan]]:
    """How each method makes images of the judged prompts, and of unrelated ones; empty where that is not known."""
    prompts: Sequence[Prompt] = config.read(problems)[: config.max_prompts]
    unrelated: Sequence[Prompt] = ()
    if config.unrelated.is_given:
        unrelated = config.unrelated.read(problems)[: config.max_prompts]
    if any(prompt.target not in (None, target) for prompt in prompts):
        problems.add("prompts: some have targets of their own; compare them family by family, each with its --target")
    if config.model is None:
        problems.add("model: got nothing; give --model, the folder or hub id of a pipeline")
    if config.model is None or not prompts:
        return {}, {}
    out = Path(config.out or ".") / "images"

    def plans(chosen: Sequence[Prompt], images: int, kind: str) -> dict[str, GenerationPlan]:
        sampling = replace(config, images=images)
        return {
            name: sampling.plan(
                chosen,
                out / kind / folder_of(name),
                method=method,
                target=target,
                batch_size=config.batch_size,
                overwrite=config.overwrite,
            )
            for name, method in methods.items()
            if chosen
        }

    judged = plans(prompts, config.images, "judged")
    _check_plans(judged, problems)
    return judged, plans(unrelated, config.unrelated_images, "unrelated")


def _check_plans(plans: Mapping[str, GenerationPlan], problems: Problems) -> None:
    """Note what is wrong with the plans: once what is wrong with all, by method what is wrong with one."""
    found = {}
    for name, plan in plans.items():
        own = Problems(name)
        plan.check(own)
        found[name] = own.messages
    common = [message for message in next(iter(found.values())) if all(message in own for own in found.values())]
    for message in common:
        problems.add(message)
    for name, messages in found.items():
        for message in messages:
            if message not in common:
                problems.add(f"methods.{name}: {message}")


def folder_of(name: str) -> str:
    """Return the name of the folder of a method's images.

    Args:
        name: name of the method.

    Example:
        >>> folder_of("Fair Diffusion (paper)")
        'fair_diffusion_paper'
    """
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
