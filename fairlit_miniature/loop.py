"""A resumable training loop: what every stage of the builder runs, so that a killed build goes on where it was."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import Progress
from torch import Tensor, nn

from fairlit.io.atomic import atomic_path

LossOfStep = Callable[[int, torch.Generator], Tensor]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a stage trains.

    Attributes:
        steps: number of optimiser steps.
        lr: highest learning rate of AdamW; warmed up linearly, then a cosine down to a fiftieth.
        warmup: steps of warm-up.
        weight_decay: AdamW's.
        ema_decay: decay of the average of the weights, which is what a stage delivers; 0 keeps the last weights.
        save_every: steps between checkpoints.
    """

    steps: int
    lr: float
    warmup: int = 100
    weight_decay: float = 0.01
    ema_decay: float = 0.0
    save_every: int = 250

    def factor(self, step: int) -> float:
        """The learning rate of a step as a share of `lr`."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))


def step_generator(seed: int, step: int) -> torch.Generator:
    """A generator that depends on seed and step alone, so that a resumed run draws what an unbroken one draws."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def train(
    name: str,
    module: nn.Module,
    loss_of_step: LossOfStep,
    schedule: Schedule,
    checkpoint: Path,
    *,
    seed: int = 0,
    progress: Progress,
) -> None:
    """Trains `module` in place, resuming from `checkpoint` if there is one.

    Args:
        name: shown in the progress bar.
        module: holds every trained parameter, on the device to train on; ends in eval mode with the averaged weights.
        loss_of_step: (step, generator) -> scalar loss.
        schedule: length and learning rate.
        checkpoint: file of the loop's state, written every `schedule.save_every` steps and at the end.
        seed: seeds every step's generator.
        progress: where to show a bar.
    """
    optimizer = torch.optim.AdamW(
        module.parameters(), schedule.lr, weight_decay=schedule.weight_decay, betas=(0.9, 0.99), fused=True
    )
    averages = {key: value.detach().clone() for key, value in module.named_parameters()}
    start = 0
    if checkpoint.exists():
        device = next(module.parameters()).device
        state = torch.load(checkpoint, weights_only=True, map_location=device)
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        averages, start = state["averages"], state["step"]
    bar = progress.add_task(name, total=schedule.steps, completed=start)
    module.train()
    running = math.nan
    for step in range(start, schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.lr * schedule.factor(step)
        loss = loss_of_step(step, step_generator(seed, step))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        decay = min(schedule.ema_decay, (step + 1) / (step + 10))
        with torch.no_grad():
            for key, value in module.named_parameters():
                averages[key].lerp_(value, 1.0 - decay)
        running = loss.item() if math.isnan(running) else 0.98 * running + 0.02 * loss.item()
        progress.update(bar, completed=step + 1, description=f"{name} (loss {running:.4f})")
        if (step + 1) % schedule.save_every == 0 or step + 1 == schedule.steps:
            _save(checkpoint, module, optimizer, averages=averages, step=step + 1)
    with torch.no_grad():
        for key, value in module.named_parameters():
            value.copy_(averages[key])
    module.eval()


def _save(
    checkpoint: Path, module: nn.Module, optimizer: torch.optim.Optimizer, *, averages: dict[str, Tensor], step: int
) -> None:
    state = {"module": module.state_dict(), "optimizer": optimizer.state_dict(), "averages": averages, "step": step}
    with atomic_path(checkpoint) as path:
        torch.save(state, path)
