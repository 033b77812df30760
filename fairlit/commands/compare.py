"""``fairlit compare``: mitigation methods beside each other, same prompts, same noise, one judge, one report."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from fairlit.auditing.outputs import REPORT, RESULTS
from fairlit.commands.devices import choose_device
from fairlit.commands.generation_arguments import add_sampling_arguments, plan_of
from fairlit.commands.judging_arguments import add_judging_arguments, check_judging, load_encoders, load_judge
from fairlit.commands.progress import progress_bar
from fairlit.commands.target_argument import read_target
from fairlit.comparison.run import ComparisonSettings, make_images, planned_images, run_comparison
from fairlit.data.prompts.families import Prompt, Split
from fairlit.data.prompts.sources import read_prompts
from fairlit.errors import Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.generation import GenerationPlan
from fairlit.mitigation import FinetunedAdaptor, Method, NoMitigation
from fairlit.results.comparison import ComparisonResults
from fairlit.terminal import quieten_libraries

DESCRIPTION = (
    "Generates images by several methods from the same prompts and the same noise, and judges them alike. Methods "
    "stand in a config: see configs/compare. Writes report.html, results.json, per_image.csv and figures. Stopped or "
    "killed, the same command goes on where it was."
)
_REFERENCE = "none"


def run(args: list[str]) -> None:
    """Runs ``fairlit compare ARGS``.

    Raises:
        ConfigurationError: the arguments are wrong; lists everything that is.
        CheckpointError: a model or adaptor is damaged.
    """
    quieten_libraries()
    parser = _parser()
    given = parser.parse_args(args)
    settings = None
    with Problems("compare") as problems:
        device = choose_device(given.device, problems)
        target = read_target(given, problems)
        check_judging(given, target, problems)
        for name in ("unrelated_images", "most_prompts"):
            if given[name] is not None and given[name] < 1:
                problems.add(f"{name}: got {given[name]}; give at least 1")
        instances = Namespace()
        with problems.collecting():
            instances = parser.instantiate(given)
        methods = _methods(given, instances.get("methods") or {}, problems)
        plans, unrelated = _plans(given, methods, target, problems)
        if plans and target is not None:
            command = shlex.join(["fairlit", "compare", *args])
            settings = _settings(given, plans, unrelated, target, device, command)
        if settings is not None and not problems.messages:
            total, missing = planned_images(settings)
    assert settings is not None
    settings.out.mkdir(parents=True, exist_ok=True)
    with progress_bar(f"images by {len(plans)} methods", total, done=total - missing) as advance:
        make_images(settings, advance)
    there = f", {total - missing} were there already" if missing < total else ""
    print(f"made     {missing} images by {len(plans)} methods{there}: {settings.out / 'images'}")
    judge, encoders = load_judge(given, instances.detector, device), load_encoders(given, device)
    looks = len(plans) * len(settings.plans[settings.reference].prompts) * given.images
    with progress_bar("looks at images", looks + (total if encoders.by_name else 0)) as advance:
        results = run_comparison(settings, judge, encoders, advance)
    _tell(results, settings.out)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="fairlit compare", description=DESCRIPTION)
    parser.add_argument("--config", action="config", help="YAML file with any of these arguments; later ones win")
    parser.add_argument("prompt", type=str, nargs="*", help="prompts, each in quotes, instead of --prompts")
    parser.add_argument(
        "--methods",
        type=dict[str, Method],
        default={},
        help="name -> class_path and init_args of a class in fairlit.mitigation; best in a config",
    )
    parser.add_argument("--only", type=list[str] | None, help="names of the methods to take; default: all")
    parser.add_argument("--adaptor", type=str | None, help="in place of the path of the methods that are an adaptor")
    add_sampling_arguments(parser)
    parser.add_argument("--unrelated_prompts", type=str | None, metavar="FILE", help="prompts that are to stay as is")
    parser.add_argument("--unrelated_families", type=list[str] | None, help="of that file; default: all")
    parser.add_argument("--unrelated_split", type=Split, default="test", help="of these families")
    parser.add_argument("--unrelated_images", type=int, default=8, help="of each of them")
    parser.add_argument("--most_prompts", type=int | None, help="take the first ones only, of either kind; to try")
    add_judging_arguments(parser, report_prompts=4)
    return parser


def _methods(given: Namespace, configured: Mapping[str, Method], problems: Problems) -> dict[str, Method]:
    """The methods by name, among them the model as it is."""
    methods = dict(configured)
    if given.adaptor is not None:
        adaptors = [name for name, method in methods.items() if isinstance(method, FinetunedAdaptor)]
        if len(adaptors) > 1:
            problems.add(f"adaptor: could take the place of {', '.join(adaptors)}; give the paths in the config")
        methods |= {name: FinetunedAdaptor(given.adaptor) for name in adaptors or ["adaptor"]}
    if given.only is not None:
        unknown = [name for name in given.only if name not in methods and name != _REFERENCE]
        if unknown:
            problems.add(f"only: {unknown[0]!r} is no method here; choose from {', '.join(methods) or 'none'}")
        methods = {
            name: method
            for name, method in methods.items()
            if name in given.only or isinstance(method, NoMitigation)  # all others are compared with it
        }
    plain = [name for name, method in methods.items() if isinstance(method, NoMitigation)]
    if len(plain) > 1:
        problems.add(f"methods: {' and '.join(plain)} are both the model as it is; leave one of them away")
    if not plain:
        if _REFERENCE in methods:
            problems.add(f"methods: {_REFERENCE!r} stands for the model as it is; give that method another name")
        methods = {_REFERENCE: NoMitigation(), **methods}
    if len(methods) < 2:
        problems.add(
            "methods: there is none to compare with the model as it is; give --config with methods, see --help"
        )
    folders: dict[str, str] = {}
    for name in methods:
        other = folders.setdefault(_folder(name), name)
        if other != name or not _folder(name):
            problems.add(f"methods: {name!r} gives no folder name of its own; use other letters and digits")
    return methods


def _plans(
    given: Namespace, methods: Mapping[str, Method], target: TargetDistribution | None, problems: Problems
) -> tuple[dict[str, GenerationPlan], dict[str, GenerationPlan]]:
    """How every method makes images of the judged prompts, and of unrelated ones; empty where that is not known."""
    prompts: Sequence[Prompt] = ()
    unrelated: Sequence[Prompt] = ()
    with problems.collecting():
        prompts = read_prompts(given.prompt or (), given.prompts, given.families, given.split)[: given.most_prompts]
    if given.unrelated_prompts is not None:
        with problems.collecting():
            unrelated = read_prompts((), given.unrelated_prompts, given.unrelated_families, given.unrelated_split)[
                : given.most_prompts
            ]
    if any(prompt.target not in (None, target) for prompt in prompts):
        problems.add("prompts: some have targets of their own; compare them family by family, each with its --target")
    if given.model is None:
        problems.add("model: give --model, the folder or hub id of a pipeline")
    if given.model is None or not prompts:
        return {}, {}
    out = Path(given.out or ".") / "images"
    plans = {
        name: plan_of(given, prompts, method, target, out / "judged" / _folder(name))
        for name, method in methods.items()
    }
    _check_plans(plans, problems)
    given_fewer = Namespace({**given.as_dict(), "images": given.unrelated_images})
    others = {
        name: plan_of(given_fewer, unrelated, method, target, out / "unrelated" / _folder(name))
        for name, method in methods.items()
        if unrelated
    }
    return plans, others


def _check_plans(plans: Mapping[str, GenerationPlan], problems: Problems) -> None:
    """Notes what is wrong with each plan: once what is wrong with all, by method what is wrong with one."""
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


def _settings(
    given: Namespace,
    plans: Mapping[str, GenerationPlan],
    unrelated: Mapping[str, GenerationPlan],
    target: TargetDistribution,
    device: str,
    command: str,
) -> ComparisonSettings:
    reference = next(name for name, plan in plans.items() if isinstance(plan.method, NoMitigation))
    return ComparisonSettings(
        plans=plans,
        unrelated=unrelated,
        reference=reference,
        target=target,
        out=Path(given.out or "."),
        tolerance=given.tolerance,
        seed=given.audit_seed,
        batch_size=given.batch_size,
        report_prompts=given.report_prompts,
        report_images=given.report_images,
        title=given.title or f"Methods on {given.model}",
        command=command,
        device=device,
    )


def _folder(name: str) -> str:
    """The folder of a method's images.

    Example:
        >>> _folder("Fair Diffusion (paper)")
        'fair_diffusion_paper'
    """
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _tell(results: ComparisonResults, out: Path) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from fairlit.auditing.report_parts import number, percent, title_of
    from fairlit.comparison.report import group_table

    block = results.methods[results.reference].figures.main_block
    table = Table(title=f"distance to target and bias: {title_of(block)}", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("method", "distance", "bias", "CLIP-I", "CLIP-T", "faces", "s/image"):
        table.add_column(heading, justify="left" if heading == "method" else "right", no_wrap=heading != "method")
    for name, method in results.methods.items():
        own, similar = method.figures.blocks[block], method.similarities
        table.add_row(
            name,
            f"{number(own.tv.value, 2)} [{number(own.tv.low, 2)}, {number(own.tv.high, 2)}]",
            number(own.bias.value, 2),
            number(similar.clip_i and similar.clip_i.value),
            number(similar.clip_t and similar.clip_t.value),
            percent(method.figures.face_rate),
            number(method.seconds_an_image, 2),
        )
    Console().print(table)
    if groups := group_table(results):
        title = "faces found an image, images with as many as asked, and distance of compositions"
        found = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
        headings = [f"of {asked}" for asked in groups.asked]
        headings += [f"{title_of(attribute)} of {people}" for people, attribute in groups.compositions]
        for heading in ("method", "exact", *headings):
            found.add_column(heading, justify="left" if heading == "method" else "right", no_wrap=heading != "method")
        for row in groups.rows:
            counts = [number(count, 2) for count in row.found]
            blocks = ["-" if figures is None else number(figures.tv.value, 2) for figures in row.blocks]
            found.add_row(row.name, percent(row.exact), *counts, *blocks)
        Console().print(found)
    print("Attributes are perceived, and classifiers err.")
    print(f"report   {out / REPORT}\nresults  {out / RESULTS}")
