"""Seconds, memory and gradient of one training step, by several engines side by side.

Every engine is the product itself with other settings, laid over the same configs. The engines take turns, one step
each, on the same prompt, noise and weights (the learning rate is 0), so that what else runs on the machine slows all of
them alike: `python benchmarks/benchmark_step.py --rounds 7`.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from torch import Tensor
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from fairlit.commands.training import build
from fairlit.diffusion.sample_counter import SampleCounter
from fairlit.io.atomic import atomic_write_text
from fairlit.training import FairFinetuner
from fairlit.training.finetuning.micro_batch import peak_bytes

# Two evaluations a solver step, as most models need them.
GUIDED_DEMO = ("configs/demo.yaml", "configs/demo/guided.yaml")
PHASES = ("rollout", "originals", "faces", "losses", "replay")
Settings = dict[str, dict[str, Any]]

PLAIN: Settings = {
    "gradient": {"mode": "replay"},
    "detection": {},
    "replay": {"micro_batch": "auto", "keep": 0},
    "reference_images": {
        "with_rollout": False,
        "cache": None,
        "noise_pool": 1,
    },  # the same noise with a cache and without
    "acceleration": {"channels_last": False, "attention": "torch", "unet_checkpointing": False, "compile": False},
}


def over(base: Settings, **changes: dict[str, Any]) -> Settings:
    """Settings with some of them changed."""
    return {name: block | changes.get(name, {}) for name, block in base.items()}


BESIDE = over(PLAIN, reference_images={"with_rollout": True})
FAST = over(BESIDE, acceleration={"channels_last": True, "attention": "auto"})


@dataclass(frozen=True)
class Engine:
    """A way to make one step.

    Attributes:
        title: what it is, in a few words.
        settings: blocks of the model's settings, laid over the configs.
        calls_each: `replay.micro_batch` is to hold all images of one call.
        half: in the precision asked for with --half.
        cached: originals come from a cache.
    """

    title: str
    settings: Settings
    calls_each: bool = False
    half: bool = False
    cached: bool = False

    @property
    def compiled(self) -> bool:
        """Whether the U-Net is."""
        return bool(self.settings["acceleration"]["compile"])

    @property
    def recomputes(self) -> bool:
        """Whether the U-Net's activations are computed once more in the backward pass."""
        return self.settings["gradient"]["mode"] != "replay" or self.settings["acceleration"]["unet_checkpointing"]

    def overlay(self, options: argparse.Namespace, images: int) -> dict[str, Any]:
        """A config to lay over those that all engines share."""
        blocks = over(self.settings)
        if self.cached:
            blocks["reference_images"]["cache"] = str(options.out / "originals")
        if self.calls_each:
            blocks["replay"]["micro_batch"] = images
        blocks["sampling"] = {"min_steps": options.steps, "max_steps": options.steps}
        trainer = {"precision": options.half if self.half or options.all_half else "32-true", "callbacks": []}
        trainer |= {"logger": False, "limit_val_batches": 0}
        trainer |= dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
        return {"trainer": trainer, "model": {"init_args": blocks}}


ENGINES = {
    "a": Engine(
        "published: images twice, faces one by one",
        over(PLAIN, gradient={"mode": "published"}, detection={"batch_size": 1}),
    ),
    "b": Engine("replay, U-Net checkpointed", over(PLAIN, acceleration={"unet_checkpointing": True}), calls_each=True),
    "b2": Engine("replay, not checkpointed", PLAIN, calls_each=True),
    "c": Engine("b2, micro-batch chosen, originals beside", BESIDE),
    "d32": Engine("c, channels last, attention chosen", FAST),
    "d": Engine("d32, compiled, half precision", over(FAST, acceleration={"compile": True}), half=True),
    "e": Engine("d32, originals cached", FAST, cached=True),
    "k": Engine("d32, activations kept", over(FAST, replay={"keep": "auto"})),
    "ke": Engine("e, activations kept", over(FAST, replay={"keep": "auto"}), cached=True),
    "f2": Engine("e, half of the steps", over(FAST, replay={"step_fraction": 0.5}), cached=True),
    "f4": Engine("e, a quarter of the steps", over(FAST, replay={"step_fraction": 0.25}), cached=True),
}


class Recorder(L.Callback):
    """Keeps seconds and gradient of the last step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.gradient = torch.zeros(0)

    def on_before_optimizer_step(self, trainer: L.Trainer, module: Any, optimizer: Any) -> None:
        """After the backward pass."""
        kept = [parameter.grad.flatten() for parameter in module.adaptor.parameters().values()]
        self.gradient = torch.cat(kept).double().cpu()

    def on_train_end(self, trainer: L.Trainer, module: Any) -> None:
        """The module has logged its seconds by now."""
        metrics = trainer.callback_metrics
        self.seconds = {phase: float(metrics.get(f"seconds/{phase}", 0.0)) for phase in (*PHASES, "step")}


@dataclass
class Run:
    """An engine with its model and trainer.

    Attributes:
        engine: which.
        module: its own copy of the models.
        trainer: makes one more step whenever asked.
        data: the prompts.
        recorder: of the last step.
        counter: of the U-Net's work.
        seconds: of each measured step.
        gradient: of the first measured step.
        counted: forwards and backwards of the U-Net in a step, in samples.
        peak: bytes beyond what was there before the step; None: not measured.
    """

    engine: Engine
    module: FairFinetuner
    trainer: L.Trainer
    data: L.LightningDataModule
    recorder: Recorder
    counter: SampleCounter = field(init=False)
    seconds: list[dict[str, float]] = field(default_factory=list)
    gradient: Tensor = field(default_factory=lambda: torch.zeros(0))
    counted: tuple[int, int] = (0, 0)
    peak: int | None = None

    def step(self) -> None:
        """One training step, the same each time."""
        self.trainer.fit_loop.epoch_loop.max_steps = self.trainer.global_step + 1
        self.trainer.fit(self.module, datamodule=self.data)


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, runs, prints the table and writes it as JSON."""
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    names = options.engines.split(",")
    if unknown := [name for name in names if name not in ENGINES]:
        raise SystemExit(f"--engines: {', '.join(unknown)} unknown; choose from {', '.join(ENGINES)}")
    images = build([*_shared(options), *options.set]).datamodule.images["train"]
    runs = {name: _build(name, images, options) for name in names}
    for name, run in runs.items():
        print(f"warming up {name}: {run.engine.title}", flush=True)
        run.step()
        watched = run.module.backbone if run.engine.compiled else run.module.backbone.unet.mid_block.resnets[-1]
        run.counter = SampleCounter(watched)  # a checkpointed block is met twice
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", flush=True)
        for run in runs.values():
            run.counter.reset()
            run.step()
            run.seconds.append(run.recorder.seconds)
            if number == 0:
                run.gradient = run.recorder.gradient
    device = next(iter(runs.values())).module.device
    for run in runs.values():
        run.counted = (run.counter.forwards, run.counter.backwards)
        if not (run.engine.compiled and device.type == "cpu"):  # compiled code hides its allocations there
            run.peak = peak_bytes(run.step, device)
    result = _summarize(runs, device, options)
    print(_table(result))
    atomic_write_text(options.out / "benchmark_step.json", json.dumps(result, indent=1) + "\n")
    print(f"written: {options.out / 'benchmark_step.json'}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--config", action="append", help="configs, as for fit; default: configs/demo.yaml and configs/demo/guided.yaml"
    )
    parser.add_argument("--set", action="append", default=[], help="further settings for all engines, as for fit")
    parser.add_argument("--engines", default=",".join(name for name in ENGINES if name != "d"), help="with commas")
    parser.add_argument("--rounds", type=int, default=5, help="measured steps of each engine")
    parser.add_argument("--steps", type=int, default=10, help="solver steps")
    parser.add_argument("--half", default="bf16-mixed", help="precision of engines with half precision")
    parser.add_argument("--all_half", action="store_true", help="all engines in that precision")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"), help="folder of the results")
    return parser


def _shared(options: argparse.Namespace) -> list[str]:
    return [f"--config={path}" for path in options.config or GUIDED_DEMO]


def _build(name: str, images: int, options: argparse.Namespace) -> Run:
    engine = ENGINES[name]
    own = options.out / f"{name}.yaml"
    atomic_write_text(own, yaml.safe_dump(engine.overlay(options, images), sort_keys=False))
    cli = build([*_shared(options), f"--config={own}", *options.set])
    assert isinstance(cli.model, FairFinetuner)
    module, recorder = cli.model, Recorder()
    given = module.make_optimizer
    module.make_optimizer = lambda parameters: _frozen(given(parameters))
    module.make_scheduler = None
    cli.trainer.callbacks.append(recorder)
    return Run(engine, module, cli.trainer, cli.datamodule, recorder)


def _frozen(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The same optimiser, whose steps change nothing."""
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    return optimizer


def _summarize(runs: dict[str, Run], device: torch.device, options: argparse.Namespace) -> dict[str, Any]:
    first = next(iter(runs.values()))
    forward, backward = _flops(first.module)
    rates = {half: _matmul_rate(device, torch.bfloat16 if half else torch.float32) for half in (False, True)}
    rows = {}
    for name, run in runs.items():
        seconds = {key: statistics.median(step[key] for step in run.seconds) for key in (*PHASES, "step")}
        ratios = [base["step"] / own["step"] for base, own in zip(first.seconds, run.seconds, strict=True)]
        forwards, backwards = run.counted
        flops = forwards * forward + backwards * backward
        recomputed = backwards if run.engine.recomputes else 0
        rate = rates[run.engine.half or options.all_half]
        busy = seconds["rollout"] + seconds["replay"]
        difference = float((run.gradient - first.gradient).norm() / first.gradient.norm())
        rows[name] = {
            "title": run.engine.title,
            "seconds": seconds,
            "seconds_of_steps": [step["step"] for step in run.seconds],
            "times_faster": statistics.median(ratios),
            "unet_sample_forwards": forwards,
            "unet_sample_backwards": backwards,
            "micro_batch": run.module.chain_gradient.largest,
            "kept_pairs": run.module.chain_gradient.kept,
            "peak_bytes": run.peak,
            "gradient_difference": difference,
            "unet_tflops_per_second": flops / busy / 1e12,
            "hfu": flops / busy / rate,
            "mfu": (flops - recomputed * forward) / busy / rate,
        }
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return {
        "device": name,
        "torch": torch.__version__,
        "images": first.data.images["train"],  # type: ignore[attr-defined]
        "solver_steps": options.steps,
        "rounds": options.rounds,
        "matmul_tflops_per_second": {"float32": rates[False] / 1e12, "bfloat16": rates[True] / 1e12},
        "unet_gflops_per_sample": {"forward": forward / 1e9, "backward": backward / 1e9},
        "engines": rows,
    }


def _flops(module: FairFinetuner) -> tuple[int, int]:
    """Floating-point operations of the U-Net for one sample: forward, and backward with what is trained."""
    backbone = module.backbone
    state = torch.zeros(1, *backbone.latent_shape(module.sampling.image_size), device=backbone.device)
    prompts = backbone.encode(["a photo of the face of a person"])
    with torch.compiler.set_stance("force_eager"):
        with FlopCounterMode(display=False) as counter:
            output = backbone(state, torch.ones(1, device=backbone.device), prompts)
        forward = counter.get_total_flops()
        with FlopCounterMode(display=False) as counter:
            wanted = [*prompts.values(), *module.sampler.inner_parameters()]
            torch.autograd.grad(output.sum(), [tensor for tensor in wanted if tensor.requires_grad])
    return forward, counter.get_total_flops()


def _matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second in the fastest of a few large matrix products."""
    best = 0.0
    for size in (512, 1024) if device.type == "cpu" else (4096, 8192):
        matrix = torch.randn(size, size, device=device, dtype=dtype)
        names = {"torch": torch, "matrix": matrix}
        timer = Timer("torch.mm(matrix, matrix)", globals=names, num_threads=torch.get_num_threads())
        best = max(best, 2 * size**3 / min(timer.timeit(1).median for _ in range(5)))
    return best


def _table(result: dict[str, Any]) -> str:
    """As Markdown."""
    head = ["engine", *PHASES, "step, s", "faster", "U-Net forwards", "backwards", "peak MiB", "gradient differs"]
    head += ["MFU", "HFU"]
    lines = [
        f"{result['device']}, torch {result['torch']}: {result['images']} images, {result['solver_steps']} solver "
        f"steps, median of {result['rounds']} steps each",
        "",
        f"| {' | '.join(head)} |",
        f"|{'|'.join(['---'] * len(head))}|",
    ]
    for name, row in result["engines"].items():
        seconds = [f"{row['seconds'][phase]:.2f}" for phase in (*PHASES, "step")]
        peak = "-" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**20:.0f}"
        cells = [f"{name}: {row['title']}", *seconds, f"{row['times_faster']:.2f}x", str(row["unet_sample_forwards"])]
        cells += [str(row["unet_sample_backwards"]), peak, f"{row['gradient_difference']:.1e}"]
        cells += [f"{row[share]:.0%}" for share in ("mfu", "hfu")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
