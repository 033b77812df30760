"""Images for prompts, by the model alone or by a mitigation method."""

from __future__ import annotations

import logging
from pathlib import Path

from fairlit.errors import Problems
from fairlit.functional.alignment.target_distribution import read_target
from fairlit.generation.config import GenerateConfig
from fairlit.generation.plan import GenerationPlan
from fairlit.generation.run import make_images, missing_images
from fairlit.io.devices import choose_device
from fairlit.io.wording import counted
from fairlit.pictures.manifest import MANIFEST
from fairlit.results.generation import GenerationResults
from fairlit.terminal import progress_bar, quieten_libraries

_LOG = logging.getLogger(__name__)


def generate(config: GenerateConfig) -> GenerationResults:
    """Make images for prompts; those that are on disk already are not made again.

    Args:
        config: settings. Everything in it is checked before weights are loaded.

    Returns:
        The folder, its manifest, and how many images were made.

    Raises:
        ConfigurationError: the settings are wrong; lists everything that is.
        CheckpointError: a model or adaptor is damaged.
    """
    quieten_libraries()
    plan = None
    with Problems("generate") as problems:
        if config.out is None:
            problems.add("out: got nothing; give --out, the folder for the images")
        if config.model is None:
            problems.add("model: got nothing; give --model, the folder or hub id of a pipeline")
        device = choose_device(config.device, problems)
        target, method = read_target(config.target, problems), config.chosen(problems)
        prompts = config.read(problems)
        if prompts and config.model is not None:
            out = Path(config.out or ".")
            plan = config.plan(
                prompts,
                out,
                method=method,
                target=target,
                batch_size=config.batch_size,
                overwrite=config.overwrite,
            )
            plan.check(problems)
    assert plan is not None
    return make_planned(plan, device)


def make_planned(plan: GenerationPlan, device: str) -> GenerationResults:
    """Make the missing images of a checked plan, with a progress bar on terminals."""
    total = len(plan.prompts) * plan.images
    missing = sum(map(len, missing_images(plan)))
    plan.warn_of_cut_prompts()
    with progress_bar(f"images, {plan.method.display_name}", total, done=total - missing) as advance:
        made = make_images(plan, device, advance)
    before = f", {total - made} were there already" if made < total else ""
    what = f"{counted(made, 'image')} of {counted(len(plan.prompts), 'prompt')}"
    _LOG.info("made     %s%s: %s", what, before, plan.out)
    return GenerationResults(
        folder=str(plan.out),
        manifest=str(plan.out / MANIFEST),
        prompts=tuple(prompt.text for prompt in plan.prompts),
        images=total,
        made=made,
    )
