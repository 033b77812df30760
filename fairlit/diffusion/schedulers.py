"""Schedulers of pipelines: what samples, opened and checked before any weights are loaded."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import diffusers
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    SchedulerMixin,
)

from fairlit.diffusion.loading import refused_if_damaged
from fairlit.diffusion.settings import Solver
from fairlit.diffusion.single_files import config_folder
from fairlit.errors import ConfigurationError, Problems
from fairlit.functional.sampling.solver import WeightScheme, output_weights
from fairlit.io.model_folders import read_json

_SOLVERS: dict[str, type[SchedulerMixin]] = {
    "dpm-solver++": DPMSolverMultistepScheduler,  # of second order by default, as Shen et al. use it
    "ddim": DDIMScheduler,
    "euler": EulerDiscreteScheduler,
    "euler-ancestral": EulerAncestralDiscreteScheduler,
    "lcm": LCMScheduler,  # for models distilled to it, such as those with an LCM-LoRA
}
_NOISE_SCHEDULE = ("beta_start", "beta_end", "beta_schedule")


def with_solver(scheduler: Any, solver: Solver) -> Any:
    """Return the scheduler itself, or another one on its noise schedule.

    Args:
        scheduler: scheduler of a pipeline.
        solver: what to sample with; `pipeline` is the scheduler itself.
    """
    if solver == "pipeline":
        return scheduler
    # Clipping is not linear. As a keyword: diffusers 0.42.1 drops values from the config that its `_use_default_values`
    # lists, which are those that the scheduler's file did not name.
    return _SOLVERS[solver].from_config(scheduler.config, clip_sample=False)


def check_sampling(
    path: str | Path,
    solver: Solver,
    steps: Iterable[int],
    *,
    problems: Problems,
    subject: str,
    weights: WeightScheme = "natural",
) -> Any | None:
    """Note why a pipeline cannot be sampled as planned; a hub id is taken on trust.

    Args:
        path: folder or single file that `check_pipeline` has checked, or a hub id.
        solver: what to sample with.
        steps: numbers of solver steps.
        problems: collector of the messages.
        subject: name of the parameter that gives the path.
        weights: weights of the evaluations in a gradient that is to be computed.

    Returns:
        The scheduler that samples, if nothing is wrong with it; None for a hub id.
    """
    folder = config_folder(path)
    if folder is None:
        return None
    with problems.collecting():
        scheduler = with_solver(_open_scheduler(folder, subject), solver)
        for count in sorted({count for count in steps if count > 0}):
            if not bool(output_weights(scheduler, count, weights).isfinite().all()):
                raise ConfigurationError(
                    f"gradient.weights: got {weights} for {type(scheduler).__name__} with {count} steps, where it is "
                    "not finite; take natural"
                )
        return scheduler
    return None


def _is_scheduler(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, SchedulerMixin)


def _open_scheduler(folder: Path, subject: str) -> Any:
    """Return the scheduler of a pipeline's folder, once its noise schedule is sure to come from its file."""
    file = folder / "scheduler" / "scheduler_config.json"
    with Problems("scheduler") as problems:
        index = read_json(folder / "model_index.json", subject, problems) or {}
        fields = read_json(file, subject, problems) or {}
    entry = index.get("scheduler")
    name = str(entry[1]) if isinstance(entry, list) and len(entry) == 2 else str(entry)
    kind: Any = getattr(diffusers, name, None)
    if not _is_scheduler(kind):
        raise ConfigurationError(
            f"{subject}: got the scheduler {name} in {folder / 'model_index.json'}, which diffusers does not have; "
            "copy the model again"
        )
    taken = inspect.signature(kind).parameters
    missing = [field for field in _NOISE_SCHEDULE if field in taken and fields.get(field) is None]
    if missing and fields.get("trained_betas") is None:  # diffusers would take its defaults: another noise schedule
        raise ConfigurationError(f"{subject}: {file} has no {', '.join(missing)}; copy the model again")
    with refused_if_damaged(folder / "scheduler"):
        return kind.from_pretrained(str(folder), subfolder="scheduler", local_files_only=True)
