"""Stages of a build: what each makes, what its result depends on, and which of them stand finished in a folder.

A stage takes up to an hour, so each is installed as soon as it is made. A build that finds a stage of its recipe
installed starts from there, on another machine too.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from fairlit.io.atomic import atomic_write_text
from fairlit_miniature import training_faces
from fairlit_miniature.recipe import Recipe

RECORD = "stages.json"
# What of a recipe a stage heeds besides what those before it do; all the rest is the judges'.
_OWN_FIELDS: dict[str, tuple[str, ...]] = {
    "autoencoder": ("seed", "drawings", "vae"),
    "text_encoder": ("text",),
    "encoders": ("passed", "clip", "dino"),
    "unet": ("diffusion",),
    "refinement": ("refinement",),
}
# A part's place in the finished miniature, where it is not its name.
_PLACES = {"vae": "pipeline/vae", "text_encoder": "pipeline/text_encoder", "refined": "pipeline"}


# The attribute classifiers by their folders: two to train against and one that audits.
CLASSIFIERS = {
    "classifier_train": training_faces.TRAIN,
    "classifier_second": training_faces.SECOND,
    "classifier_audit": training_faces.AUDIT,
}
# Other networks, which agree on what is seen in faces that no word decides; nothing else is judged by them.
PANEL = {f"panel_{number}": network for number, network in enumerate(training_faces.PANEL)}
_KEPT_AT_HOME = ("faces", *PANEL, "labelled_faces")  # intermediate
# What each stage makes; a stage needs those before it. Intermediate results of training are kept within one.
PARTS: dict[str, tuple[str, ...]] = {
    "autoencoder": ("vae",),
    "text_encoder": ("text_encoder",),
    "encoders": ("clip", "dino"),
    "unet": ("pipeline",),
    "refinement": ("refined",),
    "judges": (*_KEPT_AT_HOME, *CLASSIFIERS, "face_bank.safetensors"),
}
STAGES = tuple(PARTS)
# What stands in the finished miniature.
FINISHED_PARTS = ("pipeline", "clip", "dino", *CLASSIFIERS, "face_bank.safetensors")


def stage_fingerprint(recipe: Recipe, stage: str) -> str:
    """A short text that differs between recipes whose stages differ, up to and with this one."""
    heeded: list[str] = []
    for name in STAGES[: STAGES.index(stage) + 1]:
        earlier = {field for own in _OWN_FIELDS.values() for field in own}
        heeded += _OWN_FIELDS.get(name, [field.name for field in fields(recipe) if field.name not in earlier])
    values = asdict(recipe)
    text = json.dumps({name: values[name] for name in heeded}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_record(folder: Path) -> dict[str, Any]:
    """What a folder says of its stages: name -> {"fingerprint", "checks"}; empty where it says nothing."""
    file = folder / RECORD
    return json.loads(file.read_text()) if file.exists() else {}


def is_installed(folder: Path, recipe: Recipe, stage: str) -> bool:
    """Whether a folder holds the result of this recipe's stage."""
    noted = {name: entry["fingerprint"] for name, entry in read_record(folder).items()}
    if stage == "unet" and "refinement" in noted and not is_installed(folder, recipe, "refinement"):
        return False  # another refinement has taken its place
    return noted.get(stage) == stage_fingerprint(recipe, stage)


def take_over(folder: Path, workdir: Path, stage: str) -> None:
    """Copies what an installed stage made into a work folder that lacks it."""
    for part in PARTS[stage]:
        if part not in _KEPT_AT_HOME and not (workdir / part).exists():
            _copy(folder / _PLACES.get(part, part), workdir / part)


def install_stage(workdir: Path, folder: Path, stage: str) -> None:
    """Copies what a stage made to where it is used."""
    install(workdir, folder, [part for part in PARTS[stage] if part not in _KEPT_AT_HOME])


def note_stage(folder: Path, recipe: Recipe, stage: str, checks: Mapping[str, Any]) -> None:
    """Notes of what recipe an installed stage is and how it did; later ones, made from another one, are struck."""
    earlier = {name: entry for name, entry in read_record(folder).items() if STAGES.index(name) < STAGES.index(stage)}
    entry = {"fingerprint": stage_fingerprint(recipe, stage), "checks": dict(checks)}
    atomic_write_text(folder / RECORD, json.dumps({**earlier, stage: entry}, indent=1) + "\n")


def install(workdir: Path, out: Path, parts: Sequence[str]) -> None:
    """Copies finished parts from the work folder to where they are used; each part appears whole or not at all."""
    for part in parts:
        _copy(workdir / part, out / _PLACES.get(part, part))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".partial-{target.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    if source.is_dir():
        shutil.copytree(source, unfinished)
        shutil.rmtree(target, ignore_errors=True)
    else:
        shutil.copy2(source, unfinished)
    unfinished.replace(target)
