"""``fairlit generate``: images for prompts, by the model alone, an adaptor or another method."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser

from fairlit.commands.devices import DEVICE_HELP, choose_device
from fairlit.commands.generation_arguments import (
    add_generation_arguments,
    read_plan,
    with_method_paths,
)
from fairlit.commands.progress import progress_bar
from fairlit.commands.target_argument import add_target_argument, read_target
from fairlit.errors import Problems
from fairlit.generation import GenerationPlan, generate
from fairlit.generation.run import missing_images
from fairlit.pictures.manifest import MANIFEST
from fairlit.terminal import quieten_libraries

DESCRIPTION = (
    "Generates images. The parameters of each are in its PNG file and in manifest.jsonl. Stopped or killed, the same "
    "command goes on where it was; no image is made twice."
)


def run(args: list[str]) -> None:
    """Runs ``fairlit generate ARGS``.

    Raises:
        ConfigurationError: the arguments are wrong; lists everything that is.
        CheckpointError: a model or adaptor is damaged.
    """
    quieten_libraries()
    parser = _parser()
    given = parser.parse_args(with_method_paths(args))
    method = parser.instantiate(given).get("method")
    with Problems("generate") as problems:
        if given.out is None:
            problems.add("out: give --out, the folder for the images")
        device = choose_device(given.device, problems)
        plan = read_plan(given, method, read_target(given, problems), Path(given.out or "."), problems)
    assert plan is not None
    make_images(plan, device)
    print(f"manifest {plan.out / MANIFEST}")


def make_images(plan: GenerationPlan, device: str) -> None:
    """Makes the missing images of a plan under a progress bar, and says what there was to do."""
    total = len(plan.prompts) * plan.images
    missing = sum(map(len, missing_images(plan)))
    with progress_bar(f"images, method {plan.method.name}", total, done=total - missing) as advance:
        made = generate(plan, device, advance)
    before = f", {total - made} were there already" if made < total else ""
    print(f"made     {made} images of {len(plan.prompts)} prompts{before}: {plan.out}")


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="fairlit generate", description=DESCRIPTION)
    parser.add_argument("prompt", type=str, nargs="*", help="prompts, each in quotes")
    parser.add_argument("--out", type=str | None, help="folder for the images, one folder in it for each prompt")
    add_generation_arguments(parser)
    add_target_argument(parser, "what the method works towards, if it needs a target")
    parser.add_argument("--batch_size", type=int, default=8, help="images that go through the model together")
    parser.add_argument("--device", type=str, default="auto", help=DEVICE_HELP)
    return parser
