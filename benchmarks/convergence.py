"""Bias against seconds and against U-Net evaluations, by engine and by weights of the calls, over several seeds.

Each run is `fairlit fit` with other settings; now and then the validation prompts are generated, which is not timed.
Finished runs are kept, so the script can be stopped and goes on where it was:
`python benchmarks/convergence.py --out runs/convergence`, and with `--plot_only` for the figure alone.

Approximations that save time are measured by the seconds that they take to reach a bias:
`python benchmarks/convergence.py --panels approximations --bias 0.3 --out runs/approximations`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import matplotlib as mpl
import numpy as np
import torch
import yaml
from benchmark_step import GUIDED_DEMO
from matplotlib import pyplot as plt

from fairlit.commands.training import build
from fairlit.diffusion.sample_counter import SampleCounter
from fairlit.functional.statistics.fairness import pairwise_bias
from fairlit.io.atomic import atomic_path, atomic_write_text
from fairlit.training import FairFinetuner

Settings = dict[str, dict[str, Any]]
POOL: Settings = {"reference_images": {"noise_pool": 1}}

# What is compared: name -> settings of the model.
ENGINES: dict[str, Settings] = {
    "published": {
        "gradient": {"mode": "published"},
        "detection": {"batch_size": 1},
        "reference_images": {"with_rollout": False},
        "acceleration": {"channels_last": False},
    },
    "replay": {},
    "replay, originals cached": POOL,
    "replay, a quarter of the steps": {"replay": {"step_fraction": 0.25}},
}
GRADIENTS: dict[str, Settings] = {
    "adjusted, uniform": {},
    "adjusted, reference": {"gradient": {"weights": "reference"}},
    "adjusted, natural": {"gradient": {"weights": "natural"}},
    "full back-propagation": {"gradient": {"mode": "full"}},
}
FEWER_STEPS: Settings = {"sampling": {"min_steps": 3, "max_steps": 4}}
# Each says in its settings what it approximates; "replay" is exact.
APPROXIMATIONS: dict[str, Settings] = {
    "replay": {},
    "half of the steps replayed": {"replay": {"step_fraction": 0.5}},
    "replay, a quarter of the steps": ENGINES["replay, a quarter of the steps"],
    "replay, originals cached": POOL,
    "4 sets of noise": {"reference_images": {"noise_pool": 4}},
    "3 to 4 solver steps": FEWER_STEPS,
    "3 to 4 solver steps, half replayed": FEWER_STEPS | {"replay": {"step_fraction": 0.5}},
    "3 to 4 solver steps, half replayed, originals cached": FEWER_STEPS | POOL | {"replay": {"step_fraction": 0.5}},
}
AXES = {
    "seconds": "seconds in training steps (on a CPU: its time, all threads)",
    "evaluations": "U-Net evaluations (samples)",
}


@dataclass(frozen=True)
class Panel:
    """Runs that are drawn together.

    Attributes:
        title: title of the panel.
        runs: what is compared, name -> settings of the model.
    """

    title: str
    runs: dict[str, Settings]


PANELS = {
    "engines": Panel("Engines, uniform weights", ENGINES),
    "gradients": Panel("Gradients", GRADIENTS),
    "approximations": Panel("Approximations", APPROXIMATIONS),
}


@dataclass
class Curve:
    """One run.

    Attributes:
        steps: of the optimiser, at each measurement.
        seconds: spent in training steps by then, see `clock`.
        evaluations: samples that the U-Net has worked on by then, forward and backward.
        bias: mean over the validation prompts.
        faces: share of images with a face.
    """

    steps: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    evaluations: list[int] = field(default_factory=list)
    bias: list[float] = field(default_factory=list)
    faces: list[float] = field(default_factory=list)

    def seconds_to(self, bias: float) -> float | None:
        """Return the seconds after which the bias is first as low as `bias`, read off the line between measurements.

        None: it never is.
        """
        for number, after in enumerate(self.bias):
            if after <= bias:
                if number == 0:
                    return self.seconds[0]
                before = self.bias[number - 1]
                share = (before - bias) / (before - after)
                return self.seconds[number - 1] + share * (self.seconds[number] - self.seconds[number - 1])
        return None


def clock(device: torch.device) -> float:
    """Seconds: of the wall on a GPU; of this process's CPU time else, which others on the machine do not lengthen."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


class Measure(L.Callback):
    """Measures the bias now and then, outside of the time of training."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.curve = Curve()
        self.seconds = self.begun = 0.0
        self.counter: SampleCounter | None = None

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Before the first step."""
        assert isinstance(module, FairFinetuner)
        self._measure(trainer, module)
        self.counter = SampleCounter(module.backbone)

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, *args: Any) -> None:
        """A step begins."""
        self.begun = clock(module.device)

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *args: Any) -> None:
        """A step has ended."""
        assert isinstance(module, FairFinetuner)
        self.seconds += clock(module.device) - self.begun
        if trainer.global_step % self.every == 0 or trainer.global_step == trainer.max_steps:
            self._measure(trainer, module)

    def _measure(self, trainer: L.Trainer, module: FairFinetuner) -> None:
        evaluations = self.counter.evaluations if self.counter else 0
        data = trainer.datamodule  # type: ignore[attr-defined]
        biases, faces = [], []
        for index in range(len(data.prompts("val"))):
            seen = module.generate(data.batch("val", index), module.variants[-1]).observation
            target = data.batch("val", index).target
            [name] = target.attributes
            counts = torch.bincount(seen.probabilities[name].argmax(dim=-1), minlength=target.table.numel())
            biases.append(pairwise_bias(counts / counts.sum()) if counts.sum() else float("nan"))
            faces.append(float(seen.has_face.float().mean()))
        if self.counter is not None:  # what was measured is no training
            self.counter.forwards += evaluations - self.counter.evaluations
        self.curve.steps.append(trainer.global_step)
        self.curve.seconds.append(self.seconds)
        self.curve.evaluations.append(evaluations)
        self.curve.bias.append(float(np.mean(biases)))
        self.curve.faces.append(float(np.mean(faces)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, trains what has not been trained, draws."""
    options = _parser().parse_args(arguments)
    names = options.panels.split(",")
    if unknown := [name for name in names if name not in PANELS]:
        raise SystemExit(f"--panels: got {', '.join(unknown)}; expected names with commas; give {', '.join(PANELS)}")
    panels = [PANELS[name] for name in names]
    every = {name: settings for panel in panels for name, settings in panel.runs.items()}
    chosen = options.only.split(";") if options.only else list(every)
    if unknown := [name for name in chosen if name not in every]:
        raise SystemExit(f"--only: {', '.join(unknown)} unknown; choose from {'; '.join(every)}")
    for seed in range(options.seeds):
        for name in chosen:
            if name == "adjusted, uniform" and "replay" in chosen:
                continue  # the same
            path = _path(options.out, name, seed)
            if not options.plot_only and not path.is_file():
                curve = _train(name, every[name], seed, options)
                atomic_write_text(path, json.dumps(vars(curve)) + "\n")
                change = f"bias {curve.bias[0]:.3f} -> {curve.bias[-1]:.3f}"
                print(f"{name}, seed {seed}: {change} in {curve.seconds[-1]:.0f} s", flush=True)
    curves = _read(options.out, every)
    print(_table(curves, options.bias))
    _draw(curves, panels, options.bias, path=options.out / "convergence.png")
    print(f"written: {options.out / 'convergence.png'}, .svg")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--config", action="append", help="configs, as for fit; default: configs/demo.yaml and configs/demo/guided.yaml"
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs of each")
    parser.add_argument("--steps", type=int, default=60, help="of the optimiser")
    parser.add_argument("--every", type=int, default=15, help="steps between measurements")
    parser.add_argument("--images", type=int, default=24, help="of each validation prompt at a measurement")
    parser.add_argument("--prompts", type=int, default=6, help="validation prompts")
    parser.add_argument("--panels", default="engines,gradients", help=f"with commas, of {', '.join(PANELS)}")
    parser.add_argument("--bias", type=float, default=0.3, help="bias that is to be reached, whose seconds are printed")
    parser.add_argument("--only", help="names of some runs, with semicolons")
    parser.add_argument("--plot_only", action="store_true", help="train nothing")
    parser.add_argument("--out", type=Path, default=Path("runs/convergence"), help="folder of results")
    return parser


def _path(folder: Path, name: str, seed: int) -> Path:
    words = "".join(letter if letter.isalnum() else "_" for letter in name)
    return folder / f"{words}_{seed}.json"


def _train(name: str, settings: Settings, seed: int, options: argparse.Namespace) -> Curve:
    own = {key: dict(block) for key, block in settings.items()}
    if "reference_images" in own and own["reference_images"].get("noise_pool"):
        own["reference_images"]["cache"] = str(options.out / "originals" / _path(Path(), name, seed).stem)
    trainer = {"callbacks": [], "logger": False, "limit_val_batches": 0, "max_steps": options.steps}
    trainer |= dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer["val_check_interval"] = 10_000
    data = {"seed": seed, "validation_images": options.images, "validation_prompts": options.prompts}
    overlay = {"trainer": trainer, "model": {"init_args": {**own, "seed": seed}}, "data": {"init_args": data}}
    path = options.out / f"{_path(Path(), name, seed).stem}.yaml"
    atomic_write_text(path, yaml.safe_dump(overlay, sort_keys=False))
    configs = [*(options.config or GUIDED_DEMO), path]
    cli = build([*(f"--config={config}" for config in configs), f"--seed_everything={seed}"])
    measure = Measure(options.every)
    cli.trainer.callbacks.append(measure)
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    return measure.curve


def _read(folder: Path, names: dict[str, Settings]) -> dict[str, list[Curve]]:
    curves: dict[str, list[Curve]] = defaultdict(list)
    for name in names:
        source = "replay" if name == "adjusted, uniform" else name
        for path in sorted(folder.glob(_path(Path(), source, 0).stem[:-1] + "[0-9]*.json")):
            curves[name].append(Curve(**json.loads(path.read_text())))
    return curves


def _table(curves: dict[str, list[Curve]], bias: float) -> str:
    head = ["run", "seeds", "bias before", "after, by seed", "seconds a step", "U-Net evaluations a step"]
    head += [f"seconds to {bias:g}, by seed"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for name, runs in curves.items():
        after = ", ".join(f"{run.bias[-1]:.3f}" for run in runs)
        seconds = np.mean([run.seconds[-1] / run.steps[-1] for run in runs])
        evaluations = np.mean([run.evaluations[-1] / run.steps[-1] for run in runs])
        before = np.mean([run.bias[0] for run in runs])
        reached = [run.seconds_to(bias) for run in runs]
        times = ", ".join("not reached" if time is None else f"{time:.0f}" for time in reached)
        lines.append(f"| {name} | {len(runs)} | {before:.3f} | {after} | {seconds:.2f} | {evaluations:.0f} | {times} |")
    return "\n".join(lines)


def _draw(curves: dict[str, list[Curve]], panels: Sequence[Panel], aim: float, *, path: Path) -> None:
    """Mean and range over the seeds, against seconds and against evaluations; the bias to be reached is dotted."""
    mpl.use("Agg")
    size = (11, 3.75 * len(panels))
    figure, axes = plt.subplots(len(panels), 2, figsize=size, sharey=True, squeeze=False, layout="constrained")
    for row, panel in zip(axes, panels, strict=True):
        for axis, (quantity, label) in zip(row, AXES.items(), strict=True):
            axis.axhline(aim, color="grey", linestyle=":", linewidth=1)
            for name in panel.runs:
                if not curves.get(name):
                    continue
                across = np.mean([getattr(run, quantity) for run in curves[name]], axis=0)
                bias = np.array([run.bias for run in curves[name]])
                [line] = axis.plot(across, bias.mean(axis=0), marker="o", markersize=3, label=name)
                axis.fill_between(across, bias.min(axis=0), bias.max(axis=0), color=line.get_color(), alpha=0.15)
            axis.set_xlabel(label)
            axis.set_title(panel.title, loc="left", fontsize=10)
            axis.grid(alpha=0.3)
            axis.set_ylim(bottom=0)
        row[0].set_ylabel("bias of the validation prompts")
        row[1].legend(fontsize=8)
    for suffix in (".png", ".svg"):
        with atomic_path(path.with_suffix(suffix)) as temporary:
            figure.savefig(temporary, dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    main()
