"""``fairlit audit``: who is seen in generated images, against a target, with error bars and a report."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from fairlit.auditing.outputs import REPORT, RESULTS
from fairlit.auditing.run import AuditSettings, run_audit
from fairlit.commands.devices import choose_device
from fairlit.commands.folder_arguments import add_folder_argument, add_folder_prompts, find_folders
from fairlit.commands.judging_arguments import add_judging_arguments, check_judging, load_encoders, load_judge
from fairlit.commands.progress import progress_bar
from fairlit.commands.target_argument import read_target
from fairlit.errors import Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.statistics.composition import read_compositions
from fairlit.judging.image_folders import ImageFolder, find_images

DESCRIPTION = (
    "Judges images by a detector and a classifier of perceived attributes against a target distribution: a folder of "
    "images, or a model that they are generated with first. Writes report.html, results.json, per_image.csv and "
    "figures. Stopped or killed, the same command goes on where it was."
)


def run(args: list[str]) -> None:
    """Runs ``fairlit audit ARGS``.

    Raises:
        ConfigurationError: the arguments are wrong; lists everything that is.
        CheckpointError: a model is damaged.
    """
    generates = any(argument == "--model" or argument.startswith("--model=") for argument in args)
    parser = _parser(generates)
    given = parser.parse_args(_named(args, generates))
    out = Path(given.out or ".")
    plans: list[Any] = []
    with Problems("audit") as problems:
        device = choose_device(given.device, problems)
        target = read_target(given, problems)
        _check_settings(given, target, out, generates, problems)
        instances = Namespace()
        with problems.collecting():
            instances = parser.instantiate(given)
        compositions = read_compositions(given.compositions, target, problems) if target is not None else {}
        if given.compositions and given.faces != "all":
            problems.add("compositions: they are counted where everybody is; give --faces all too")
        if generates:
            plans = _plans(given, instances.get("method"), target, out, problems)
        elif given.folder is not None:
            folders = find_folders(given, ("folder", "original"), problems)
    assert target is not None
    if generates:
        from fairlit.commands.generate import make_images

        for plan in plans:
            make_images(plan, device)
        folders = [find_images(plan.out) for plan in plans]
    folder, original = folders[0], folders[1] if len(folders) > 1 else None
    settings = AuditSettings(
        folder,
        target,
        out,
        original,
        given.tolerance,
        given.audit_seed,
        given.batch_size,
        given.report_prompts,
        given.report_images,
        given.title or f"Audit of {_subject(given, folder)}",
        shlex.join(["fairlit", "audit", *args]),
        compositions,
    )
    judge, encoders = load_judge(given, instances.detector, device), load_encoders(given, device)
    total = sum(len(entry.images) for entry in folders)
    with progress_bar("looks at images", total * (1 + bool(encoders.by_name))) as advance:
        results = run_audit(settings, judge, encoders, advance)
    _tell(results, out)


def _named(args: list[str], generates: bool) -> list[str]:
    if not generates:
        return args
    from fairlit.commands.generation_arguments import with_method_paths

    return with_method_paths(args)


def _check_settings(
    given: Namespace, target: TargetDistribution | None, out: Path, generates: bool, problems: Problems
) -> None:
    """Notes settings that are missing or out of range."""
    check_judging(given, target, problems)
    if given.folder is not None and out.resolve().is_relative_to(Path(given.folder).resolve()):
        problems.add(f"out: {out} lies within the folder that is audited; give a folder elsewhere")
    if (given.folder is None) != generates:
        problems.add("give either a folder of images or --model, which they are generated with first")


def _plans(
    given: Namespace, method: Any, target: TargetDistribution | None, out: Path, problems: Problems
) -> list[Any]:
    """What to generate: the images to audit and, where a method changes the model, its own with the same noise."""
    from fairlit.commands.generation_arguments import read_plan
    from fairlit.mitigation import NoMitigation
    from fairlit.terminal import quieten_libraries

    quieten_libraries()
    if given.original is not None:
        problems.add("original: with --model the original's images are generated too; leave --original away")
    plan = read_plan(given, method, target, out / "images", problems)
    if plan is None:
        return []
    if any(prompt.target not in (None, target) for prompt in plan.prompts):
        problems.add("prompts: some have targets of their own; audit them family by family, each with its --target")
    if isinstance(plan.method, NoMitigation):
        return [plan]
    return [plan, dataclasses.replace(plan, method=NoMitigation(), out=out / "original")]


def _subject(given: Namespace, folder: ImageFolder) -> str:
    if given.get("model") is None:
        return str(given.folder)
    return f"{given.adaptor} on {given.model}" if given.adaptor else str(given.model)


def _tell(results: dict[str, Any], out: Path) -> None:
    audited = results["audited"]
    print(f"verdict  {results['verdict']['headline']}")
    for name, statement in results["verdict"]["statements"].items():
        print(f"         {name.replace('_', ' ')}: {statement}")
    print(
        f"counted  {results['figures']['faces']} faces in {audited['images']} images; not counted: "
        f"{audited['no_face']} without a face, {audited['damaged']} damaged, {audited['skipped']} missing or no image"
    )
    print(f"report   {out / REPORT}\nresults  {out / RESULTS}")


def _parser(generates: bool) -> ArgumentParser:
    parser = ArgumentParser(prog="fairlit audit", description=DESCRIPTION)
    add_folder_argument(parser)
    parser.add_argument(
        "--original", type=str | None, help="folder with the original model's images for the same prompts"
    )
    add_judging_arguments(parser, report_prompts=12)
    parser.add_argument(
        "--compositions",
        type=dict | None,
        help="what images of several people shall show: {gender: {2: {'1 female, 1 male': 1.0}}}; default: people "
        "drawn one by one from the target",
    )
    parser.add_argument("--prompt", type=str, nargs="+", help="prompts, each in quotes")
    if generates:
        from fairlit.commands.generation_arguments import add_generation_arguments

        add_generation_arguments(parser)
    else:
        parser.add_argument(
            "--model",
            type=str | None,
            help="instead of a folder: generate with this model first; with it come the arguments of fairlit generate",
        )
        add_folder_prompts(parser)
    return parser
