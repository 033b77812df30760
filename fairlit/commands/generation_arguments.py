"""The arguments that say what is to be generated; ``fairlit generate``, ``audit`` and ``compare`` share them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from jsonargparse import ArgumentParser, Namespace

import fairlit.mitigation
from fairlit.commands.prompt_arguments import add_prompt_file
from fairlit.data.prompts.families import Prompt
from fairlit.data.prompts.sources import read_prompts
from fairlit.diffusion.settings import ImageSize, Precision, PromptPadding, Solver
from fairlit.errors import Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.generation import GenerationPlan
from fairlit.mitigation import FinetunedAdaptor, Method, NoMitigation


def method_classes() -> dict[str, type[Method]]:
    """The methods that fairlit has, by the names that reports call them, in small letters and without spaces."""
    found = [getattr(fairlit.mitigation, name) for name in fairlit.mitigation.__all__]
    methods = [entry for entry in found if inspect.isclass(entry) and issubclass(entry, Method)]
    return {entry.name.lower().replace(" ", "_"): entry for entry in methods if not inspect.isabstract(entry)}


def with_method_paths(args: list[str]) -> list[str]:
    """Arguments in which the name of a method stands for its class, which is what the parser asks for."""
    paths = {name: f"{entry.__module__}.{entry.__qualname__}" for name, entry in method_classes().items()}
    written: list[str] = []
    for place, argument in enumerate(args):
        if place and args[place - 1] == "--method":
            argument = paths.get(argument, argument)
        elif argument.startswith("--method="):
            name = argument.removeprefix("--method=")
            argument = f"--method={paths.get(name, name)}"
        written.append(argument)
    return written


def add_generation_arguments(parser: ArgumentParser) -> None:
    """Adds what a `GenerationPlan` needs, but for its folder and the prompts on the command line."""
    add_sampling_arguments(parser)
    parser.add_argument("--adaptor", type=str | None, help="short for --method adaptor --method.path PATH")
    parser.add_subclass_arguments(
        Method,
        "method",
        required=False,
        help=f"{', '.join(method_classes())}, or the path of a class; settings: --method.NAME VALUE",
    )


def add_sampling_arguments(parser: ArgumentParser) -> None:
    """Adds model, prompt file and how to sample: all of a plan that holds for any method."""
    parser.add_argument("--model", type=str | None, help="pipeline folder or hub id of a Stable Diffusion")
    add_prompt_file(parser, "text file, one prompt a line, or prompt families (YAML, JSON)")
    parser.add_argument("--images", type=int, default=16, help="of each prompt")
    parser.add_argument("--seed", type=int, default=0, help="of the noise; each image has its own, in any batch size")
    parser.add_argument("--steps", type=int, default=30, help="solver steps")
    parser.add_argument("--guidance_scale", type=float, default=7.5, help="of classifier-free guidance; 1: none")
    parser.add_argument(
        "--image_size",
        type=ImageSize | None,
        help="side in pixels, or '[HEIGHT, WIDTH]'; default: what the model was made for",
    )
    parser.add_argument("--solver", type=Solver, default="pipeline", help=", ".join(get_args(Solver)))
    parser.add_argument(
        "--prompt_padding", type=PromptPadding, default="longest", help="max_length: as stock diffusers"
    )
    parser.add_argument("--precision", type=Precision, default="float32", help="of the model's weights")


def read_plan(
    given: Namespace, method: Method | None, target: TargetDistribution | None, out: Path, problems: Problems
) -> GenerationPlan | None:
    """The plan that arguments ask for; None, and notes, where there is none.

    Args:
        given: parsed arguments.
        method: what ``--method`` was instantiated to.
        target: see `target_argument.read_target`.
        out: folder for the images.
        problems: where messages go.
    """
    if given.adaptor is not None and method is not None:
        problems.add("adaptor: stands for --method adaptor; leave --adaptor or --method away")
    if given.adaptor is not None:
        method = FinetunedAdaptor(given.adaptor)
    if given.model is None:
        problems.add("model: give --model, the folder or hub id of a pipeline")
    prompts = None
    with problems.collecting():
        prompts = read_prompts(given.prompt or (), given.prompts, given.families, given.split)
    if prompts is None or given.model is None:
        return None
    plan = plan_of(given, prompts, method or NoMitigation(), target, out)
    plan.check(problems)
    return plan


def plan_of(
    given: Namespace, prompts: Sequence[Prompt], method: Method, target: TargetDistribution | None, out: Path
) -> GenerationPlan:
    """A plan, not checked yet, with the settings of arguments from `add_sampling_arguments` and a ``batch_size``."""
    names = ("images", "seed", "steps", "guidance_scale", "image_size", "solver", "prompt_padding", "precision")
    settings = {name: given[name] for name in (*names, "batch_size")}
    return GenerationPlan(given.model, prompts, out, method=method, target=target, **settings)
