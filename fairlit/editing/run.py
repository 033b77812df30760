"""Brings the images of a folder to a target, set by set, into another folder; stopped, it goes on where it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import torch
from torch import Tensor

from fairlit.auditing.edits import sees_edit
from fairlit.diffusion.settings import Precision, Solver
from fairlit.errors import Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.statistics.composition import composition_name, compositions_of
from fairlit.generation.plan import describe_method
from fairlit.io.atomic import atomic_path
from fairlit.io.digests import fairlit_version
from fairlit.judging.image_folders import FoundImage, ImageFolder
from fairlit.judging.observations import Judge, file_mark
from fairlit.mitigation import OutputEditing, SamplingPlan
from fairlit.mitigation.face_editing.editor import FaceEditor
from fairlit.mitigation.face_editing.settings import EditedSet
from fairlit.mitigation.output_editing import describe_change
from fairlit.pictures.files import UnreadableImageError, read_image, read_parameters, read_profile, save_png
from fairlit.pictures.manifest import MANIFEST, read_manifest, write_manifest
from fairlit.results.manifest import ManifestEntry

Scope = Literal["prompt", "folder"]
"""What is brought to the target: the images of each prompt, or all images of the folder together."""

EDITS, IMAGES = "edits.jsonl", "images"


@dataclass(frozen=True)
class EditingPlan:
    """Everything that fixes the edits of a folder.

    Attributes:
        folder: the images.
        out: folder for `IMAGES`, in which images without an edit are copies of the files, and `EDITS`.
        method: how faces are chosen and made anew.
        target: what the faces of each set shall show.
        sampling: steps, guidance and batch size.
        model: pipeline folder or hub id of the model that makes faces anew.
        scope: what makes a set.
        solver: what to sample with, see `Backbone.load`.
        precision: of the weights.
        audit_classifier: who is asked about the edits, if anybody.
    """

    folder: ImageFolder
    out: Path
    method: OutputEditing
    target: TargetDistribution
    sampling: SamplingPlan
    model: str
    scope: Scope = "prompt"
    solver: Solver = "pipeline"
    precision: Precision = "float32"
    audit_classifier: str | None = None

    def sets(self) -> dict[str, list[FoundImage]]:
        """The images of each set, by its name: the prompt, or "all images"."""
        if self.scope == "folder":
            return {"all images": list(self.folder.images)}
        sets: dict[str, list[FoundImage]] = {}
        for image in self.folder.images:
            sets.setdefault(self.folder.prompts[image.prompt], []).append(image)
        return sets

    def describe(self) -> dict[str, Any]:
        """All settings as plain data: equal ones edit equal images alike."""
        return {
            "folder": str(self.folder.root.resolve()),
            "model": self.model,
            "method": describe_method(self.method),
            "target": self.target.to_dict(),
            "scope": self.scope,
            "steps": self.sampling.steps,
            "guidance_scale": self.sampling.guidance_scale,
            "solver": self.solver,
            "precision": self.precision,
            "audit_classifier": self.audit_classifier,
        }


def edited_names(files: Sequence[str]) -> dict[str, str]:
    """What images are called once they have an edit: PNGs, since other formats would change every pixel.

    Example:
        >>> edited_names(["a.png", "a.jpg", "b.jpg", "b.webp"])
        {'a.png': 'a.png', 'a.jpg': 'a.jpg.png', 'b.jpg': 'b.png', 'b.webp': 'b.webp.png'}
    """
    taken, names = set(files), {}
    for file in files:
        name = PurePosixPath(file).with_suffix(".png").as_posix()
        if name != file and name in taken:
            name = f"{file}.png"
        while name != file and name in taken:
            name = f"{name.removesuffix('.png')}_.png"
        taken.add(name)
        names[file] = name
    return names


def finished_sets(plan: EditingPlan) -> dict[str, dict[str, Any]]:
    """Records of the sets that are done already, by name.

    Raises:
        ConfigurationError: the folder holds edits that were made otherwise.
    """
    try:
        lines = (plan.out / EDITS).read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    records = []
    for line in lines:
        try:
            records.append(json.loads(line))
        except ValueError:  # cut short by a kill
            continue
    with Problems("edit") as problems:
        header = records[0] if records else {}
        wanted = json.loads(json.dumps(plan.describe()))
        differing = sorted(key for key in wanted if header.get(key) != wanted[key])
        if differing:
            key = differing[0]
            problems.add(
                f"out: {plan.out} holds edits that were made with {key} {header.get(key)!r}, not {wanted[key]!r}; give "
                "another --out, or the same settings to go on"
            )
    done = {record["set"]: record for record in records[1:]}
    return {
        name: done[name] for name, images in plan.sets().items() if name in done and _whole(plan, images, done[name])
    }


def _whole(plan: EditingPlan, images: Sequence[FoundImage], record: Mapping[str, Any]) -> bool:
    """Whether a record is of the images that there are now, and what it speaks of is there."""
    known = {entry["source"]: entry["mark"] for entry in record["images"]}
    known |= {entry["file"]: entry["mark"] for entry in record["damaged"]}
    there = all((plan.out / IMAGES / entry["file"]).is_file() for entry in record["images"])
    return there and known == {image.file: _mark(plan, image) for image in images}


def _mark(plan: EditingPlan, image: FoundImage) -> list[int]:
    """Size and time of change of a source: of another file, another one."""
    return list(file_mark(plan.folder.root / image.file)[1:])


def edit_folder(
    plan: EditingPlan,
    editor: FaceEditor,
    auditor: Judge | None = None,
    progress: Callable[[int], None] = lambda count: None,
) -> list[dict[str, Any]]:
    """Edits every set that is not done yet.

    Args:
        plan: what to do.
        editor: from `plan.method.face_editor`.
        auditor: says of every change whether it sees the wanted class too; None: nobody asks.
        progress: told how many images more are done.

    Returns:
        A record of each set: faces, changes, counts before and after; see `_record`.

    Raises:
        ConfigurationError: the folder holds edits that were made otherwise.
    """
    done = finished_sets(plan)
    sets = plan.sets()
    _rewrite(plan, [done[name] for name in sets if name in done])
    for name, images in sets.items():
        if name not in done:
            done[name] = _edit_set(plan, editor, name, images, auditor)
            with (plan.out / EDITS).open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(done[name], ensure_ascii=False) + "\n")
        progress(len(images))
    records = [done[name] for name in sets]
    write_manifest(plan.out / IMAGES, _manifest(plan, records))
    return records


def _rewrite(plan: EditingPlan, records: Sequence[Mapping[str, Any]]) -> None:
    """Writes the notes of what is done, without a line that was cut off."""
    with atomic_path(plan.out / EDITS) as path:
        lines = [json.dumps(entry, ensure_ascii=False) + "\n" for entry in (plan.describe(), *records)]
        path.write_text("".join(lines), encoding="utf-8")


def _edit_set(
    plan: EditingPlan, editor: FaceEditor, name: str, images: Sequence[FoundImage], auditor: Judge | None
) -> dict[str, Any]:
    """Edits one set and writes its images."""
    pixels: list[Tensor] = []
    usable: list[FoundImage] = []
    damaged: list[dict[str, Any]] = []
    for image in images:
        try:
            pixels.append(read_image(plan.folder.root / image.file))
            usable.append(image)
        except UnreadableImageError as error:
            damaged.append({"file": image.file, "reason": str(error), "mark": _mark(plan, image)})
    prompts = [plan.folder.prompts[image.prompt] for image in usable]
    edited = editor(pixels, prompts, plan.method.key(name))
    record = _record(plan, name, usable, pixels, edited, editor.target) | {"damaged": damaged}
    if auditor is not None:
        _confirm(record, edited, auditor)
    names = edited_names([image.file for image in plan.folder.images])
    for image, entry, new in zip(usable, record["images"], edited.images, strict=True):
        source = plan.folder.root / image.file
        entry["mark"] = _mark(plan, image)
        if any(edit["made"] for edit in entry["edits"]):
            entry["file"] = names[image.file]
            parameters = (read_parameters(source) or {}) | {
                "prompt": plan.folder.prompts[image.prompt],
                "edits": entry["edits"],
                "version": fairlit_version(),
            }
            save_png(new.float() / 255, plan.out / IMAGES / entry["file"], parameters, read_profile(source))
        else:
            with atomic_path(plan.out / IMAGES / entry["file"]) as path:
                shutil.copyfile(source, path)
    return record


def _record(
    plan: EditingPlan,
    name: str,
    images: Sequence[FoundImage],
    pixels: Sequence[Tensor],
    edited: EditedSet,
    target: TargetDistribution,
) -> dict[str, Any]:
    """What became of a set, as plain data."""
    entries: list[dict[str, Any]] = [{"file": image.file, "source": image.file, "edits": []} for image in images]
    for change in edited.changes:
        entries[change.image]["edits"].append(describe_change(change, target))
    outside = [
        int(((old != new).any(dim=0) & ~region).sum())
        for old, new, region in zip(pixels, edited.images, edited.regions, strict=True)
    ]
    return {
        "set": name,
        "faces": int(edited.before.sum()),
        "fewest": edited.fewest,
        "before": edited.before.tolist(),
        "after": edited.after.tolist(),
        "pixels": sum(region.numel() for region in edited.regions),
        "pixels_in_regions": sum(int(region.sum()) for region in edited.regions),
        "pixels_changed_outside": sum(outside),
        "compositions": _compositions(edited, plan.method.compositions, target),
        "images": entries,
    }


def _compositions(
    edited: EditedSet, wanted: Mapping[str, Mapping[int, Any]], target: TargetDistribution
) -> dict[str, dict[str, list[int]]]:
    """Number of people, of those with a target of compositions -> composition -> images before and after."""
    found: dict[str, dict[str, list[int]]] = {}
    for attribute, by_number in wanted.items():
        for people in by_number:
            counts = []
            for cells in (edited.cells_before, edited.cells):
                here = [
                    tuple(torch.bincount(own, minlength=edited.classes).tolist()) for own in cells if len(own) == people
                ]
                counts.append(here)
            found[str(people)] = {
                composition_name(group, target.classes[attribute]): [here.count(group) for here in counts]
                for group in compositions_of(people, edited.classes)
            }
    return found


def _confirm(record: Mapping[str, Any], edited: EditedSet, auditor: Judge) -> None:
    """Notes with every change that was made whether the auditor sees it too."""
    for entry, image in zip(record["images"], edited.images, strict=True):
        made = [edit for edit in entry["edits"] if edit["made"]]
        faces = auditor.look(image[None])[0].faces if made else []
        for edit in made:
            edit["confirmed"] = sees_edit(edit, faces, auditor.classifier.classes)


def _manifest(plan: EditingPlan, records: Sequence[Mapping[str, Any]]) -> list[ManifestEntry]:
    """One entry an image, with what the source's manifest says of it, in the source's order."""
    known: dict[str, dict[str, Any]] = {}
    if (plan.folder.root / MANIFEST).is_file():
        known = {Path(entry.file).as_posix(): entry.to_json() for entry in read_manifest(plan.folder.root)[0]}
    made = {entry["source"]: entry for record in records for entry in record["images"]}
    entries = []
    for image in plan.folder.images:
        if image.file in made:
            own = {"file": made[image.file]["file"], "prompt": plan.folder.prompts[image.prompt]}
            own |= {"number": image.number} | ({} if image.num_people is None else {"num_people": image.num_people})
            edits = made[image.file]["edits"]
            own |= {"edits": edits} if edits else {}
            entries.append(ManifestEntry.from_json(known.get(image.file, {}) | own))
    return entries
