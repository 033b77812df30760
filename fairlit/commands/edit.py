"""``fairlit edit``: a folder of finished images brought to a target by making as few faces as possible anew."""

from __future__ import annotations

import inspect
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser, Namespace

from fairlit.auditing.outputs import RESULTS, write_results
from fairlit.commands.devices import DEVICE_HELP, choose_device
from fairlit.commands.folder_arguments import add_folder_argument, add_folder_prompts, find_folders
from fairlit.commands.progress import progress_bar
from fairlit.commands.target_argument import add_target_argument, read_target
from fairlit.diffusion import Backbone, Precision, Solver, check_pipeline
from fairlit.diffusion.inpainting import check_steps
from fairlit.editing.run import EDITS, IMAGES, EditingPlan, Scope, edit_folder, finished_sets
from fairlit.editing.summary import edits_picture, summarise
from fairlit.errors import CheckpointError, Problems
from fairlit.faces.classifier_files import check_classifier_files, load_classifier, read_classes
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.io.atomic import atomic_path
from fairlit.io.digests import fairlit_version
from fairlit.judging.image_folders import ImageFolder
from fairlit.judging.observations import Judge
from fairlit.mitigation import OutputEditing, SamplingPlan
from fairlit.terminal import quieten_libraries

DESCRIPTION = (
    "Brings finished images to a target distribution: chooses the fewest faces that have to change, makes each anew by "
    "masked img2img under a prompt that names what it is to show, and keeps it if the classifier sees that. Everything "
    "else in the images stays as it was, to the last bit. Writes the images, edits.jsonl, results.json and "
    "before_after.png into another folder. Stopped or killed, the same command goes on with the first set of images "
    "that is not finished."
)
PICTURE = "before_after.png"


def run(args: list[str]) -> None:
    """Runs ``fairlit edit ARGS``.

    Raises:
        ConfigurationError: the arguments are wrong; lists everything that is.
        CheckpointError: a model is damaged.
    """
    quieten_libraries()
    parser = _parser()
    given = parser.parse_args(args)
    with Problems("edit") as problems:
        device = choose_device(given.device, problems)
        target = read_target(given, problems)
        plan = _plan(parser, given, target, problems)
        _check_auditor(given, target, problems)
        if plan is not None and not problems.messages:
            with problems.collecting():
                done = finished_sets(plan)
    assert plan is not None
    backbone = Backbone.load(plan.model, dtype=getattr(torch, plan.precision), solver=plan.solver).to(device)
    editor = plan.method.face_editor(backbone, plan.sampling, plan.target)
    auditor = _auditor(given, plan.method, device)
    sets = plan.sets()
    images = sum(map(len, sets.values()))
    with progress_bar("edits images", images) as advance:
        records = edit_folder(plan, editor, auditor, advance)
    there = f", {len(done)} of them before" if done else ""
    print(f"edited   {len(sets)} sets of images{there}: {plan.out}")
    summary = summarise(records, editor.target)
    described = {
        **plan.describe(),
        "command": shlex.join(["fairlit", "edit", *args]),
        "version": fairlit_version(),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    skipped = [vars(entry) for entry in plan.folder.skipped]
    write_results(plan.out / RESULTS, {"summary": summary, "settings": described, "skipped": skipped, "sets": records})
    picture = edits_picture(plan.folder.root, plan.out / IMAGES, records, editor)
    if picture is not None:
        with atomic_path(plan.out / PICTURE) as path:
            picture.save(path)
    _tell(summary, plan, picture is not None)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="fairlit edit", description=DESCRIPTION)
    parser.add_argument("--config", action="config", help="YAML file with any of these arguments; later ones win")
    add_folder_argument(parser)
    add_folder_prompts(parser)
    parser.add_argument("--prompt", type=str, nargs="+", help="prompts of such a folder, each in quotes")
    parser.add_argument("--out", type=str | None, help="folder for the edited images")
    parser.add_argument("--model", type=str | None, help="pipeline folder or hub id of a Stable Diffusion")
    add_target_argument(parser, "what the faces of a set shall show")
    parser.add_argument(
        "--scope",
        type=Scope,
        default="prompt",
        help="what makes a set: the images of a prompt, or the whole folder, all in memory at once",
    )
    parser.add_argument(
        "--audit_classifier", type=str | None, help="another classifier, asked whether it sees the edits"
    )
    parser.add_argument("--steps", type=int, default=30, help="solver steps of a whole chain")
    parser.add_argument("--guidance_scale", type=float, default=7.5, help="of classifier-free guidance; 1: none")
    parser.add_argument("--solver", type=Solver, default="pipeline", help="what to sample with")
    parser.add_argument("--precision", type=Precision, default="float32", help="of the model's weights")
    parser.add_argument("--batch_size", type=int, default=8, help="faces that go through the model together")
    parser.add_argument("--device", type=str, default="auto", help=DEVICE_HELP)
    parser.add_argument(
        "--classifier", type=str | None, help="chooses the faces and checks the edits: a folder, or YAML file of words"
    )
    parser.add_class_arguments(OutputEditing, skip={"classifier"})
    return parser


def _method(given: Namespace, instances: Namespace) -> OutputEditing:
    """The method with the settings that arguments give."""
    names = inspect.signature(OutputEditing).parameters
    return OutputEditing(**{name: (instances if name == "editing" else given)[name] for name in names})


def _plan(
    parser: ArgumentParser, given: Namespace, target: TargetDistribution | None, problems: Problems
) -> EditingPlan | None:
    """What arguments ask for; None, and notes, where that is not known."""
    folders: list[ImageFolder] = []
    if given.folder is None:
        problems.add("folder: give the folder of the images first, as in `fairlit edit images --model …`")
    else:
        folders = find_folders(given, ("folder",), problems)
    if given.target is None:
        problems.add("target: give --target, the shares that the faces of a set shall have")
    if given.model is None:
        problems.add("model: give --model, the folder or hub id of a pipeline")
    else:
        check_pipeline(given.model, problems, "model")
    _check_out(given, problems)
    sampling, method = None, None
    with problems.collecting():
        sampling = SamplingPlan(given.steps, given.guidance_scale, given.batch_size)
    if given.classifier is None:
        problems.add("classifier: give --classifier, which chooses the faces and checks the edits")
    else:
        with problems.collecting():
            method = _method(given, parser.instantiate(given))
    if method is not None and target is not None:
        method.check(target, problems)
    if not folders or target is None or given.model is None or given.out is None or sampling is None or method is None:
        return None
    check_steps(given.steps, method.editing.strength, problems)
    return EditingPlan(
        folders[0],
        Path(given.out),
        method,
        target,
        sampling,
        given.model,
        given.scope,
        given.solver,
        given.precision,
        given.audit_classifier,
    )


def _check_out(given: Namespace, problems: Problems) -> None:
    if given.out is None:
        problems.add("out: give --out, the folder for the edited images")
        return
    out = Path(given.out)
    if out.exists() and not out.is_dir():
        problems.add(f"out: {out} is a file; give a folder")
    elif out.is_dir() and any(out.iterdir()) and not (out / EDITS).is_file():
        problems.add(f"out: {out} holds something else than edits; give an empty folder, or one that is not there yet")
    if given.folder is not None:
        folder = Path(given.folder).resolve()
        if out.resolve().is_relative_to(folder) or folder.is_relative_to(out.resolve()):
            problems.add(f"out: {out} and the folder that is edited lie one within the other; give a folder elsewhere")


def _check_auditor(given: Namespace, target: TargetDistribution | None, problems: Problems) -> None:
    """Notes an auditing classifier that is missing, the leading one, or does not know the classes."""
    if given.audit_classifier is None:
        return
    check_classifier_files(given.audit_classifier, "audit_classifier", problems)
    if Path(given.audit_classifier).resolve() == Path(given.classifier or "").resolve():
        problems.add("audit_classifier: is the one that leads the edits; give another one, or none")
    try:
        with problems.collecting():
            if target is not None:
                target.reorder(read_classes(given.audit_classifier))
    except CheckpointError as error:
        problems.add(f"audit_classifier: {error}")


def _auditor(given: Namespace, method: OutputEditing, device: str) -> Judge | None:
    """Who is asked about the edits: another classifier, with the method's detector."""
    if given.audit_classifier is None:
        return None
    detector, classifier = method.judge.detector("all"), load_classifier(given.audit_classifier)
    return Judge(detector.to(device), classifier.to(device), {"classifier": given.audit_classifier}, "all")


def _tell(summary: dict[str, Any], plan: EditingPlan, picture: bool) -> None:
    print(
        f"faces    {summary['faces']} in {summary['images']} images of {summary['sets']} sets, as the classifier that "
        "leads the edits sees them"
    )
    for name, counts in summary["classes"].items():
        print(f"         {name}: {counts['before']} before, {counts['after']} after")
    distance = summary["distance"]
    for people, rows in summary["compositions"].items():
        for name, (before, after) in rows.items():
            print(f"         {people} people, {name}: {before} images before, {after} after")
    if distance["before"] is not None and not summary["compositions"]:
        print(
            f"distance {distance['before']:.3f} to the target before, {distance['after']:.3f} after, mean of the sets"
        )
    instead = f", {summary['instead']} of them in the place of others" if summary["instead"] else ""
    print(
        f"changes  {summary['made']} made of {summary['chosen']} chosen{instead}; fewest possible: {summary['fewest']}"
    )
    if summary["asked"]:
        low, high = summary["confirmed_ci"]
        print(
            f"confirmed by the auditing classifier: {summary['confirmed']} of {summary['asked']}, "
            f"{summary['confirmed_share']:.1%} [{low:.1%}, {high:.1%}]"
        )
    print(f"outside  {summary['pixels_changed_outside']} of {summary['pixels_outside']} pixels differ")
    if summary["damaged"]:
        print(f"left out {len(summary['damaged'])} images that cannot be read; they are listed in {RESULTS}")
    if plan.folder.skipped:
        print(f"left out {len(plan.folder.skipped)} files that are missing or no images; they are listed in {RESULTS}")
    print("Attributes are perceived, and classifiers err: judge the result with fairlit audit.")
    if picture:
        print(f"picture  {plan.out / PICTURE}")
    print(f"images   {plan.out / IMAGES}")
    print(f"results  {plan.out / RESULTS}\nedits    {plan.out / EDITS}")
