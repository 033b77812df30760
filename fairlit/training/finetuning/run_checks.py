"""Where the trainer's settings do not fit those of finetuning."""

from __future__ import annotations

from collections.abc import Mapping

import lightning as L
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.optim import Optimizer

from fairlit.errors import Problems
from fairlit.functional.sampling.step_subsets import subset_size
from fairlit.training.finetuning.settings import Gradient, Replay, Sampling

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


def check_run(
    trainer: L.Trainer,
    images: Mapping[str, int],
    sampling: Sampling,
    *,
    gradient: Gradient,
    replay: Replay,
    problems: Problems,
) -> None:
    """Note what cannot be trained with this trainer.

    Args:
        trainer: trainer with its strategy.
        images: split, or kind of prompts -> number of images of each prompt, over all processes.
        sampling: how images are generated.
        gradient: how the gradient goes through the chain.
        replay: how the model's evaluations are repeated.
        problems: collector of the messages.
    """
    if trainer.precision not in PRECISIONS:
        problems.add(
            f"trainer.precision: got {trainer.precision}; the trained weights need full precision, "
            "take bf16-mixed, 16-mixed or 32-true"
        )
    world = trainer.world_size
    sharded = isinstance(trainer.strategy, ModelParallelStrategy)
    if sharded and gradient.mode == "replay" and replay.micro_batch == "auto":
        problems.add(
            "replay.micro_batch: got auto for processes that hold shards of one model, which must all make the same "
            "evaluations; expected a number; give 16, say"
        )
        return
    _check_replay(gradient, replay, sharded, problems)
    for split, count in images.items():
        if count < world:
            problems.add(
                f"data: got {count} images of each {split} prompt for {world} processes; "
                "give at least one image a process"
            )
        elif sharded:
            smallest, largest = count // world, -(-count // world)
            if _batches(smallest, split, sampling, gradient, replay) != _batches(
                largest, split, sampling, gradient, replay
            ):
                problems.add(
                    f"data: got {count} images of each {split} prompt for {world} processes that hold shards of one "
                    f"model: some would wait for ever for the evaluations of others; give {smallest * world} or "
                    f"{(smallest + 1) * world}"
                )


def check_optimizer(optimizer: Optimizer, trainer: L.Trainer, problems: Problems) -> None:
    """Note that a fused optimiser cannot skip steps or clip gradients that are scaled for half precision.

    Args:
        optimizer: optimiser as configured, of any parameters.
        trainer: trainer with its precision.
        problems: collector of the messages.
    """
    if trainer.precision == "16-mixed" and any(group.get("fused") for group in optimizer.param_groups):
        problems.add("optimizer.fused: got true with trainer.precision 16-mixed; give false, or take bf16-mixed")


def _check_replay(gradient: Gradient, replay: Replay, sharded: bool, problems: Problems) -> None:
    """Note settings of the replay that would have no effect."""
    if sharded and replay.keep not in ("auto", 0):
        problems.add(
            f"replay.keep: got {replay.keep} for processes that hold shards of one model, whose weights are gathered "
            "anew for each evaluation; expected 0 or auto; give 0"
        )
    if gradient.mode != "replay":
        for name, value, without in (("keep", replay.keep, ("auto", 0)), ("step_fraction", replay.step_fraction, (1,))):
            if value not in without:
                problems.add(
                    f"replay.{name}: got {value} with gradient.mode {gradient.mode}, which replays nothing; expected "
                    f"{' or '.join(map(str, without))}; leave it out, or give gradient.mode replay"
                )


def _batches(images: int, split: str, sampling: Sampling, gradient: Gradient, replay: Replay) -> list[int]:
    """Return the batches of `images` images in sampling and, for each possible number of steps, in the replay."""
    batches = [-(-images // sampling.batch_size)]
    if split == "train" and gradient.mode == "replay" and replay.micro_batch != "auto":
        batches.append(-(-2 * images // sampling.batch_size))  # with the reference images
        steps = range(sampling.min_steps, sampling.max_steps + 1)
        batches += [-(-images * subset_size(count, replay.step_fraction) // replay.micro_batch) for count in steps]
    return batches
