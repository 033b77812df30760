"""Help of ``fairlit fit | validate | test | predict``: the settings that people write into their configs.

The texts are the classes' docstrings. They are read from the source files, because importing the classes imports torch
and Lightning, which takes seconds.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from fairlit.commands import COMMANDS

_WIDTH = 118
_COLUMN = 37


class Setting(NamedTuple):
    """One setting.

    Attributes:
        name: option on the command line, without the dashes; the path of its key in a config.
        default: default as it stands in the source; "" where the setting must be given.
        text: what it is.
    """

    name: str
    default: str
    text: str


class Section(NamedTuple):
    """Settings under one heading."""

    heading: str
    settings: Sequence[Setting]


_GENERAL = (
    Setting("config FILE", "", "YAML file of settings; of several files, the later ones win"),
    Setting("KEY VALUE", "", "any setting below or in the file; wins over files"),
    Setting("ckpt_path PATH", "", "checkpoint to go on from, or `last` for the newest of the run"),
    Setting("seed_everything", "0", "seed of everything that is drawn at random"),
    Setting("print_config", "", "print all settings as YAML, and exit"),
    Setting("help_all", "", "print every option, those of Lightning's Trainer included, and exit"),
)
_OF_FIT = (
    Setting("overwrite", "", "start anew in a folder that holds an earlier run; its checkpoints are removed"),
    Setting("dry_run", "", "check everything, say what would be trained and in how much memory, and exit"),
)
_OF_PREDICT = (Setting("overwrite", "", "replace the images of an earlier predict in the same folder"),)
_JUDGED = Setting(
    "ckpt_path PATH", "last", "checkpoint of the run, `last`, or `untrained` for the model before training"
)

# Of the Trainer's settings those that finetuning needs; Lightning documents the others.
_TRAINER = (
    Setting("trainer.max_steps", "-1", "optimiser steps after which training ends"),
    Setting("trainer.default_root_dir", "runs/CONFIG", "folder for everything that the run writes"),
    Setting("trainer.accelerator", "auto", "device: auto, gpu, cpu, mps"),
    Setting("trainer.devices", "auto", "number of devices, or list of their indices"),
    Setting("trainer.strategy", "auto", "auto, ddp, or fairlit.training.FrozenShardsStrategy"),
    Setting("trainer.precision", "32-true", "arithmetic: 32-true, bf16-mixed, 16-mixed"),
    Setting("trainer.accumulate_grad_batches", "1", "prompts for each optimiser step"),
    Setting("trainer.gradient_clip_val", "null", "norm to which the gradient is clipped"),
    Setting("trainer.val_check_interval", "1.0", "training steps between validations"),
    Setting("trainer.callbacks", "null", "list of callbacks, such as fairlit.callbacks.FaceEvaluation"),
)
_EVALUATION = tuple(
    f"trainer.{name}" for name in ("default_root_dir", "accelerator", "devices", "precision", "callbacks")
)
# What only `fairlit test` heeds.
_TESTED_ONLY = (
    *("sampling.evaluation_guidance_scales", "sampling.evaluation_step_counts", "sampling.evaluation_strengths"),
    "test_split",
)
# Settings for special cases, which the help names in one paragraph.
_SPECIAL = (
    *("model.alignment.margin", "model.alignment.label_smoothing", "model.alignment.crop_jitter"),
    "model.alignment.correct_errors",
    *("model.gradient.last_evaluations", "model.replay.memory_budget", "model.max_skipped_steps"),
    *("data.naming", "data.mixed_share"),
)
_TRAINED_ONLY = ("gradient", "replay", "alignment", "preservation", "realism", "reference_images")


def help_text(command: str) -> str:
    """Return the help of one command.

    Args:
        command: fit, validate, test or predict.
    """
    training = command == "fit"
    special = _SPECIAL if training else ()
    skip = (*(() if training else _TRAINED_ONLY), *(() if command == "test" else _TESTED_ONLY))
    skip += tuple(name.partition(".")[2] for name in _SPECIAL)
    own = _OF_FIT if training else _OF_PREDICT if command == "predict" else ()
    general = (*_GENERAL[:3], *own, *_GENERAL[3:])
    general = tuple(_JUDGED if not training and entry.name == _JUDGED.name else entry for entry in general)
    trainer = [setting for setting in _TRAINER if training or setting.name in _EVALUATION]
    lines = [
        f"usage: fairlit {command} --config FILE [--config FILE ...] [--KEY VALUE ...]",
        "",
        f"{COMMANDS[command].summary}. A config says what and how; its keys are the",
        "options below: `--model.sampling.max_steps 20` is `model: init_args: sampling: max_steps: 20` there.",
    ]
    for section in (
        Section("General", general),
        *_sections("model", "fairlit.training", "FairFinetuner", skip=skip),
        *_sections("data", "fairlit.data", "PromptDataModule", skip=skip),
        Section("Run, --trainer.NAME (lightning.pytorch.Trainer)", trainer),
    ):
        lines += ["", f"{section.heading}:", *map(_line, section.settings)]
    if special:
        lines += ["", *textwrap.wrap(f"For special cases (docs/search.md): {', '.join(special)}.", _WIDTH)]
    lines += [
        "",
        "A face classifier is trained with the model fairlit.training.AttributeClassifierTrainer and the data",
        "fairlit.data.FaceDataModule; `fairlit fit --model.help CLASS` and `--data.help CLASS` list their settings.",
    ]
    return "\n".join(lines)


def _line(setting: Setting) -> str:
    default = f" [{setting.default}]" if setting.default not in ("", "None", "null") else ""
    name = f"  --{setting.name}".ljust(_COLUMN)
    return f"{name} {_first_part(setting.text, _WIDTH - len(name) - len(default) - 1)}{default}"


def _first_part(text: str, room: int) -> str:
    """Return as many clauses of a text as fit into a line, or as many words where not even the first one fits."""
    if len(text) <= room:
        return text
    ends = [end.start() for end in re.finditer(r"(?<!e\.g)\. |[;:] | \(|, (?!and|or)", text) if end.start() <= room]
    sound = [end for end in ends if end > room // 4 and not _is_open(text[:end])]
    if sound:
        return re.sub(r"[;,] (null|`auto`|e\.g\.)$", "", _without_half_a_list(text, sound[-1]))
    return textwrap.shorten(text, room, placeholder=" ...")


def _without_half_a_list(text: str, end: int) -> str:
    """Return a text up to `end`, without the choices after a colon where they go on beyond that."""
    clause = re.split(r"[.;] ", text[:end])[-1]
    goes_on = ": " in clause and re.search(r"[,)] (?:or|and) ", text[end:]) is not None
    return text[: text.rindex(": ", 0, end)] if goes_on else text[:end]


def _is_open(text: str) -> bool:
    return any(text.count(left) > text.count(right) for left, right in ("()", "{}", "[]"))


def _sections(option: str, module: str, name: str, *, skip: Sequence[str] = ()) -> Iterator[Section]:
    """Yield the settings of a class, and those of each dataclass among them, a section each."""
    found = _defining(_find_class(module, name))
    own, nested = [], []
    for setting, annotation in _settings(option, found):
        if setting.name.removeprefix(f"{option}.") in skip:
            continue
        part = _find_part(found.module, annotation)
        if part is None:
            own.append(setting)
        else:
            entries = [
                entry for entry, _ in _settings(setting.name, part) if entry.name.removeprefix(f"{option}.") not in skip
            ]
            nested.append(Section(f"{_capital(setting.text)} ({part.node.name})", entries))
    yield Section(f"{_capital(option)} ({module}.{name})", own)
    yield from nested


class _Class(NamedTuple):
    """The source of a class."""

    module: str
    node: ast.ClassDef


@cache
def _source(module: str) -> ast.Module:
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


@cache
def _imports(module: str) -> dict[str, str]:
    """Return the module that each name of fairlit is imported from."""
    return {
        alias.asname or alias.name: node.module
        for node in ast.walk(_source(module))
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("fairlit")
        for alias in node.names
    }


def _find_class(module: str, name: str) -> _Class:
    """Return the source of a class where it is defined; packages say in their imports where that is."""
    for node in _source(module).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _Class(module, node)
    return _find_class(_imports(module)[name], name)


def _defining(found: _Class) -> _Class:
    """Return the class itself, or the base class of fairlit that has its settings."""
    while not list(_parameters(found.node)):
        base = next(ast.unparse(entry) for entry in found.node.bases if ast.unparse(entry) in _imports(found.module))
        found = _find_class(_imports(found.module)[base], base)
    return found


def _find_part(module: str, annotation: str) -> _Class | None:
    """Return the dataclass of fairlit that an annotation names, if it does."""
    if annotation not in _imports(module):
        return None
    try:
        found = _find_class(_imports(module)[annotation], annotation)
    except KeyError:  # a type alias
        return None
    return found if any("dataclass" in ast.unparse(entry) for entry in found.node.decorator_list) else None


def _settings(option: str, found: _Class) -> Iterator[tuple[Setting, str]]:
    """Yield the settings of a class in the order in which it takes them, each with its annotation."""
    from docstring_parser import parse

    texts = {entry.arg_name: " ".join((entry.description or "").split()) for entry in parse(_docstring(found)).params}
    for name, annotation, default in _parameters(found.node):
        if name in texts:
            shown = "; or ".join(filter(None, [default, ", ".join(_choices(found.module, annotation, default))]))
            yield Setting(f"{option}.{name}", shown, texts[name].rstrip(".")), annotation


def _choices(module: str, annotation: str, default: str) -> list[str]:
    """Return the words that an annotation allows, or the type alias that it names, without the default."""
    if annotation in _imports(module):
        return _choices(_imports(module)[annotation], annotation, default)
    for node in _source(module).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and _target(node) == annotation:
            annotation = ast.unparse(node.value)
    found = re.fullmatch(r"Literal\[(.*)\]", annotation)
    return [] if found is None else [word for word in re.findall(r"'([^']*)'", found[1]) if word != default]


def _target(node: ast.Assign | ast.AnnAssign) -> str:
    return ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)


def _parameters(node: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    """Yield name, annotation and default of each parameter of ``__init__``, or of each field of a dataclass."""
    for entry in node.body:
        if isinstance(entry, ast.FunctionDef) and entry.name == "__init__":
            given = [*entry.args.args[1:], *entry.args.kwonlyargs]
            missing: list[ast.expr | None] = [None] * (len(entry.args.args) - 1 - len(entry.args.defaults))
            defaults = [*missing, *entry.args.defaults, *entry.args.kw_defaults]
            for argument, default in zip(given, defaults, strict=True):
                yield argument.arg, _text(argument.annotation), _text(default)
            return
    for entry in node.body:
        if isinstance(entry, ast.AnnAssign) and isinstance(entry.target, ast.Name):
            yield entry.target.id, _text(entry.annotation), _text(entry.value)


def _text(node: ast.expr | None) -> str:
    if node is None:
        return ""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    text = ast.unparse(node)
    return "" if text.endswith(")") else text  # what a call makes is described by its own settings


def _docstring(found: _Class) -> str:
    return ast.get_docstring(found.node) or ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
