"""The commands of ``fairlit``: what the front page says of each, and the module that runs it.

Each module offers `run(args)`, where `args` is what follows the command's name. It is imported when it is called for.
"""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """One command.

    Attributes:
        name: what follows ``fairlit`` on the command line.
        module: module that offers `run(args)`.
        group: heading on the front page.
        summary: what the command does, in one line.
    """

    name: str
    module: str
    group: str
    summary: str


TRAINING = "fairlit.commands.fit"
"""Module of the commands that Lightning's Trainer runs; its `run` takes the command's name as well."""

_TABLE = (
    Command("init", "fairlit.commands.init", "Start", "Write a starter config, prompts and a README to a new folder"),
    Command("fit", TRAINING, "Finetune", "Finetune a model towards a target distribution, or train a face classifier"),
    Command("validate", TRAINING, "Finetune", "Measure a checkpoint on the validation prompts"),
    Command("test", TRAINING, "Finetune", "Measure the model before and after finetuning on the test prompts"),
    Command("predict", TRAINING, "Finetune", "Generate images of the test prompts from a checkpoint"),
    Command("generate", "fairlit.commands.generate", "Generate", "Generate images with a method or an adaptor"),
    Command("edit", "fairlit.commands.edit", "Generate", "Edit faces of finished images towards a target"),
    Command("audit", "fairlit.commands.audit", "Measure", "Judge images against a target, with error bars"),
    Command("compare", "fairlit.commands.compare", "Measure", "Compare methods: same prompts, noise and judge"),
    Command("table", "fairlit.commands.table", "Measure", "Print the figures of finetuning runs as a Markdown table"),
    Command("classifier", "fairlit.commands.classifier", "Classify", "Import or calibrate a classifier of faces"),
    Command("face-bank", "fairlit.commands.face_bank", "Classify", "Embed a folder of real faces"),
    Command("export", "fairlit.commands.export", "Share", "Convert an adaptor for diffusers, peft or kohya"),
)

COMMANDS = {command.name: command for command in _TABLE}
"""Name -> command, in the order of the front page."""

EXAMPLES = (
    "fairlit fit --config demo",
    "fairlit generate 'a photo of a doctor' --model checkpoints/miniature/pipeline --out images",
    "fairlit audit images --classifier checkpoints/miniature/classifier_audit "
    "--target '{gender: {female: 0.5, male: 0.5}}' --out report",
)
"""Three lines that run as they stand in a checkout."""
