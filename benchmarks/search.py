"""What closes a part of the distance that is left: variants of a config, measured on validation prompts.

Each variant is `fairlit fit` with a few settings changed, and one row of the table that is printed in the end:
`python benchmarks/search.py --out runs/search`. Finished variants are kept, so the script can be stopped and goes on
where it was; one whose settings have changed since is trained anew. `--table` prints the finished ones alone.
Test prompts are not looked at.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from convergence import clock
from torch import Tensor

from fairlit.callbacks.evaluation.measurement import VariantMeasurement
from fairlit.commands.training import build
from fairlit.data import PromptBatch, PromptDataModule
from fairlit.data.prompts.naming import named_classes
from fairlit.io.atomic import atomic_write_text
from fairlit.metrics import AttributeDistribution
from fairlit.results.figures import JOINT, DistributionFigures
from fairlit.results.tables import markdown_table
from fairlit.training import FairFinetuner, Generated
from fairlit.training.finetuning.variants import ORIGINAL

Settings = dict[str, Any]
UNCHANGED = "unchanged model"
_NAMED_STREAM = 9  # of noise keys; those below are the streams of training
# At the scale of use; at 1, where the demo trains, the empty prompt needs no evaluation.
_GUIDED: Settings = {"model.sampling.min_guidance_scale": 1.1, "model.sampling.max_guidance_scale": 1.1}
_UNNAMED: Settings = {"data.naming.share": 0.0}
_SHORTER: Settings = {"model.sampling.min_steps": 3, "model.sampling.max_steps": 5}
_UNET: Settings = {"unet": True, "unet_modules": ["attn2.to_k", "attn2.to_v"]}
_ATTENTION: Settings = {"unet": True, "unet_modules": ["to_q", "to_k", "to_v", "to_out.0"]}


def variants(steps: int) -> dict[str, Settings]:
    """Return what is tried: name -> settings that differ from those of the config.

    Args:
        steps: optimiser steps of a run.
    """
    return {"baseline": {}} | _costs(steps) | _noise(steps) | _losses() | _prompts() | _adaptors() | _words()


def _costs(steps: int) -> dict[str, Settings]:
    """What takes less time."""
    fewer = {"trainer.max_steps": 2 * steps // 3, "model.lr_scheduler": _linear(2 * steps // 3)}
    return {
        "one training classifier": {"model.models.classifier": "checkpoints/miniature/classifier_train"},
        "guided training": _GUIDED,
        "3 to 5 solver steps": _SHORTER,
        "two thirds of the steps": fewer,
        "two thirds of the steps, 3 to 5 solver steps": fewer | _SHORTER,
        "half of the evaluations in the backward pass": {"model.replay.step_fraction": 0.5},
    }


def _noise(steps: int) -> dict[str, Settings]:
    """What acts against the noise of the finetuning."""
    to_zero = _linear(steps, start_factor=1.0, end_factor=0.0)
    longer = {"model.lr_scheduler": to_zero, "model.ema_decay": 0.985}
    return {
        "rate ends at zero": {"model.lr_scheduler": to_zero},
        "rate of 1e-3 ends at zero": _rate(1.0e-3) | {"model.lr_scheduler": to_zero},
        "average over longer (0.985)": {"model.ema_decay": 0.985},
        "rate ends at zero, average over longer": longer,
        "rate ends at zero, average over longer, 3 to 5 solver steps": longer | _SHORTER,
        "two prompts of 6 images a step": {"trainer.accumulate_grad_batches": 2, "data.images_per_prompt": 6},
        "two prompts of 12 images a step, half of the steps": {
            "trainer.accumulate_grad_batches": 2,
            "trainer.max_steps": steps // 2,
            "model.lr_scheduler": _linear(steps // 2),
        },
    }


def _losses() -> dict[str, Settings]:
    """What the losses want of faces, and at which operating points."""
    return {
        "margin of 1": {"model.alignment.margin": 1.0},
        "margin of 3": {"model.alignment.margin": 3.0},
        "smoothed labels (0.1)": {"model.alignment.label_smoothing": 0.1},
        "crops a little off (0.05)": {"model.alignment.crop_jitter": 0.05},
        "unsure faces as published": {"model.preservation.unsure": "change"},
        "4 to 12 solver steps": {"model.sampling.max_steps": 12},
        "guidance 1.1 to 3": {"model.sampling.min_guidance_scale": 1.1, "model.sampling.max_guidance_scale": 3.0},
    }


def _prompts() -> dict[str, Settings]:
    """What it is trained on."""
    return {
        "no prompt names a class": _UNNAMED,
        "a tenth of the prompts names a class": {"data.naming.share": 0.1},
        "half of the prompts lie between two": {"data.mixed_share": 0.5},
    }


def _adaptors() -> dict[str, Settings]:
    """What is trained."""
    return {
        "no contrasts": _lora(contrasts=[], contrast_without=[]),
        "no contrasts, rank 16": _lora(contrasts=[], contrast_without=[], rank=16),
        "contrast gain 14": _lora(contrast_gain=14.0),
        "contraction towards the point of balance": _lora(contrast_centred=True),
        "contraction towards the point of balance alone": _lora(contrast_centred=True, rank=1),
        "U-Net": _lora(text_encoder=False, **_UNET) | _rate(1.0e-3),
        "text encoder and U-Net": _lora(text_encoder=True, **_UNET) | _rate(1.0e-3),
        "U-Net's attention, no contrasts, rank 16": _lora(
            text_encoder=False, contrasts=[], contrast_without=[], rank=16, **_ATTENTION
        )
        | _rate(4.0e-3),
        "text encoder and U-Net's attention, rank 8": _lora(text_encoder=True, rank=8, **_ATTENTION),
    }


def _words() -> dict[str, Settings]:
    """Contrasts of the words themselves, which finetuning then forgets."""
    words = _lora(
        contrasts=[["female", "male"]],
        contrast_without=[],
        contrast_templates=[
            f"a photo of the face of a {{word}} {job}, a person"
            for job in ("doctor", "teacher", "farmer", "dancer", "guard", "baker")
        ],
    )
    return {
        "contrast of words, guided, unnamed": words | _GUIDED | _UNNAMED,
        "contrast of words, unnamed": words | _UNNAMED,
        "contrast of words": words,
    }


def _linear(steps: int, **arguments: float) -> Settings:
    return {"class_path": "torch.optim.lr_scheduler.LinearLR", "init_args": {**arguments, "total_iters": steps}}


def _rate(lr: float) -> Settings:
    return {"model.optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": lr}}}


def _lora(**arguments: Any) -> Settings:
    return {"model.adaptor": {"class_path": "fairlit.adaptors.Lora", "init_args": arguments}}


@dataclass(frozen=True)
class Figures:
    """What the validation prompts show.

    Attributes:
        distance: distance to the target by the auditing classifier, mean over the prompts.
        floor: what as many images of a model that meets its target would show.
        distance_by_trainer: distance by the classifier that was trained against; None where it is the auditing one.
        disagreement: share of faces that the two take for different classes; None likewise.
        clip_i: CLIP-I to the images of the unchanged model; None without CLIP.
        obeyed: share of faces perceived as the prompt names them; None where no such prompts were asked for.
    """

    distance: float
    floor: float
    distance_by_trainer: float | None
    disagreement: float | None
    clip_i: float | None
    obeyed: float | None


@dataclass(frozen=True)
class Row:
    """A finished variant: what it was trained with, what it shows, and what training has cost.

    Attributes:
        settings: of the run, all that the script has decided.
        before: of the unchanged model.
        after: of the finetuned model.
        seconds: CPU seconds of training; seconds of the wall on a GPU.
    """

    settings: Settings
    before: Figures
    after: Figures
    seconds: float


class Clock(L.Callback):
    """Seconds between the start and the end of training, without the loading of models."""

    seconds = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The first step begins."""
        self.seconds = -clock(pl_module.device)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The last step has ended."""
        self.seconds += clock(pl_module.device)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, train what is missing, print the table."""
    options = _parser().parse_args(arguments)
    every = variants(options.steps)
    names = list(every) if options.only is None else options.only.split(";")
    if unknown := [name for name in names if name not in every]:
        raise SystemExit(f"--only: got {'; '.join(unknown)}; expected some of {'; '.join(every)}")
    rows: dict[str, list[Row]] = defaultdict(list)
    for name in names:
        for seed in range(options.seeds):
            path = options.out / f"{re.sub(r'[^0-9a-z]+', '_', name.lower())}_{seed}.json"
            overlay = _overlay(every[name], seed, options)
            row = _read(path, {"configs": options.config, "overlay": overlay, "named_images": options.named_images})
            if row is None and not options.table:
                row = _train(overlay, path, options)
                print(
                    f"{name}, seed {seed}: distance {row.before.distance:.3f} -> {row.after.distance:.3f}", flush=True
                )
            if row is not None:
                rows[name].append(row)
    print(table(rows) if rows else "no variant is finished")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--config", action="append", default=None, help="configs, as for fit; default: configs/demo.yaml"
    )
    parser.add_argument("--only", help="names of some variants, with semicolons")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each")
    parser.add_argument("--steps", type=int, default=150, help="of the optimiser")
    parser.add_argument("--images", type=int, default=24, help="of each validation prompt")
    parser.add_argument("--prompts", type=int, help="validation prompts; default: all")
    parser.add_argument("--named_images", type=int, default=4, help="of each validation prompt with each class named")
    parser.add_argument("--table", action="store_true", help="train nothing, print the finished variants")
    parser.add_argument("--out", type=Path, default=Path("runs/search"), help="folder of results")
    return parser


def _overlay(settings: Settings, seed: int, options: argparse.Namespace) -> Settings:
    """Return a config that is laid over those of the command line."""
    plain: Settings = {
        "trainer.max_steps": options.steps,
        "trainer.callbacks": [],
        "trainer.logger": False,
        "trainer.limit_val_batches": 0,
        "trainer.val_check_interval": None,
        **{
            f"trainer.{name}": False for name in ("enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        },
        "model.seed": seed,
        "data.seed": seed,
        "data.validation_images": options.images,
        "data.validation_prompts": options.prompts,
    }
    overlay: Settings = {}
    for key, value in (plain | settings).items():
        part, *rest = key.split(".")
        node, path = overlay, [part] + ([] if part == "trainer" else ["init_args"]) + rest
        for step in path[:-1]:
            node = node.setdefault(step, {})
        node[path[-1]] = value
    return overlay


def _read(path: Path, settings: Settings) -> Row | None:
    """Return a finished variant, or None where there is none with these settings."""
    if not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["settings"] != json.loads(json.dumps(settings)):
        return None
    return Row(settings, Figures(**content["before"]), Figures(**content["after"]), content["seconds"])


def _train(overlay: Settings, path: Path, options: argparse.Namespace) -> Row:
    config = path.with_suffix(".yaml")
    atomic_write_text(config, yaml.safe_dump(overlay, sort_keys=False))
    seed = overlay["model"]["init_args"]["seed"]
    configs = [*(options.config or ["configs/demo.yaml"]), config]
    cli = build([*(f"--config={one}" for one in configs), f"--seed_everything={seed}"])
    seconds = Clock()
    cli.trainer.callbacks.append(seconds)
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    before, after = measure(cli.model, cli.datamodule, options.named_images)
    settings = {"configs": options.config, "overlay": overlay, "named_images": options.named_images}
    row = Row(settings, before, after, seconds.seconds)
    atomic_write_text(path, json.dumps(asdict(row), indent=1) + "\n")
    return row


def measure(module: FairFinetuner, data: PromptDataModule, named_images: int) -> tuple[Figures, Figures]:
    """Return figures of the unchanged and of the finetuned model on the validation prompts with the run's target."""
    batches = [data.batch("val", index) for index in range(len(data.prompts("val")))]
    batches = [batch for batch in batches if batch.target == data.target]
    judges = {name: Judgement(module, data) for name in (ORIGINAL, module.variants[-1])}
    for batch in batches:
        original = module.generate(batch, ORIGINAL)
        for name, judge in judges.items():
            judge.add(batch, original if name == ORIGINAL else module.generate(batch, name), original)
    for batch, attribute, label in _named(batches, data, named_images):
        for name, judge in judges.items():
            judge.add_named(module.generate(batch, name), attribute, label)
    before, after = (judge.figures() for judge in judges.values())
    return before, after


def _named(
    batches: Iterable[PromptBatch], data: PromptDataModule, count: int
) -> Iterable[tuple[PromptBatch, str, str]]:
    """Yield the validation prompts with each class named, `count` images of each."""
    for place, batch in enumerate(batches):
        prompt = data.prompts("val")[batch.index]
        for attribute, labels in named_classes(batch.target).items():
            for label in labels if count else ():
                named = data.naming.name(prompt, batch.target, attribute, label)
                keys = [(data.seed, _NAMED_STREAM, place, image) for image in range(count)]
                yield PromptBatch(batch.index, named.text, named.family, batch.target, list(keys)), attribute, label


class Judgement:
    """What both classifiers see in the images of one version of the model."""

    def __init__(self, module: FairFinetuner, data: PromptDataModule) -> None:
        self.audit, self.train = module.audit_classifier, module.frozen.classifier
        self.audited = VariantMeasurement(data.target.reorder(self.audit.classes), module.device)
        self.trained = AttributeDistribution(data.target.reorder(self.train.classes)).to(module.device)
        self.attributes = data.target.attributes
        self.prompts: dict[int, str] = {}
        self.differ: list[Tensor] = []
        self.obeyed: list[Tensor] = []

    def add(self, batch: PromptBatch, generated: Generated, original: Generated) -> None:
        """Add the images of a prompt, beside those of the unchanged model."""
        self.audited.update(batch.index, generated, original)
        self.prompts[batch.index] = batch.prompt
        if generated.trained_against is None:
            return
        prompt = torch.full((len(generated.images),), batch.index, device=generated.images.device)
        faces = generated.observation.faces
        self.trained.update(prompt, generated.trained_against, faces.image_index)
        differ = torch.zeros(len(faces), dtype=torch.bool)
        for name in self.attributes:
            order = torch.tensor([self.audit.classes[name].index(label) for label in self.train.classes[name]])
            audited = generated.observation.probabilities[name].argmax(dim=1).cpu()
            differ |= order[generated.trained_against[name].argmax(dim=1).cpu()] != audited
        self.differ.append(differ)

    def add_named(self, generated: Generated, attribute: str, label: str) -> None:
        """Add images of a prompt that names a class."""
        classes = generated.observation.probabilities[attribute].argmax(dim=1).cpu()
        self.obeyed.append(classes == self.audit.classes[attribute].index(label))

    def figures(self) -> Figures:
        """Return what all images show."""
        found = self.audited.compute(self.prompts)
        distance = _distance(found.distribution)
        clip_i = found.similarities.measured.get("clip_i")
        return Figures(
            distance=distance.value,
            floor=distance.floor,
            distance_by_trainer=_distance(self.trained.compute()).value if self.differ else None,
            disagreement=_mean(self.differ),
            clip_i=None if clip_i is None else clip_i.value,
            obeyed=_mean(self.obeyed),
        )


def _distance(figures: DistributionFigures) -> Any:
    """Return the distance to the target over the joint classes, or over those of the only attribute."""
    return figures.blocks[JOINT if len(figures.attributes) > 1 else next(iter(figures.attributes))].tv


def _mean(parts: Sequence[Tensor]) -> float | None:
    return float(torch.cat(list(parts)).double().mean()) if parts and sum(map(len, parts)) else None


def table(rows: Mapping[str, Sequence[Row]]) -> str:
    """Return a Markdown table: the unchanged model, then a row a variant, the mean over its seeds."""
    heading = ["variant", "seeds", "distance", "at best", "by the training classifier", "they disagree on"]
    lines = [[*heading, "CLIP-I", "named class obeyed", "CPU seconds"]]
    runs = max(rows.values(), key=len)  # seeds differ in the images that are judged
    lines.append([UNCHANGED, str(len(runs)), *_cells([run.before for run in runs]), ""])
    for name, runs in rows.items():
        seconds = sum(run.seconds for run in runs) / len(runs)
        lines.append([name, str(len(runs)), *_cells([run.after for run in runs]), f"{seconds:.0f}"])
    return markdown_table(lines)


def _cells(found: Sequence[Figures]) -> list[str]:
    means = []
    for name in Figures.__dataclass_fields__:
        values = [value for one in found if (value := getattr(one, name)) is not None]
        means.append(f"{sum(values) / len(values):.3f}" if values else "-")
    return means


if __name__ == "__main__":
    main()
