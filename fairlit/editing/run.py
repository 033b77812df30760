"""Brings the images of a folder to a target, set by set, into another folder; stopped, it goes on where it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from fairlit.auditing.edits import sees_edit
from fairlit.diffusion.pipeline_digest import pipeline_digest
from fairlit.diffusion.settings import Precision, Solver
from fairlit.editing.config import EDITS, IMAGES, Scope
from fairlit.errors import Problems
from fairlit.faces.classifier_files import classifier_digest
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.statistics.composition import composition_name, compositions_of
from fairlit.generation.former_parameters import current_parameters
from fairlit.io.atomic import atomic_path
from fairlit.io.class_paths import ClassSpec
from fairlit.io.digests import fairlit_version, file_digest
from fairlit.io.file_status import file_mark
from fairlit.io.notes import note_line
from fairlit.io.provenance import DIGESTS, made_otherwise
from fairlit.judging.image_folders import FoundImage, ImageFolder
from fairlit.judging.observations import Judge
from fairlit.mitigation import OutputEditing, SamplingPlan
from fairlit.mitigation.face_editing.editor import FaceEditor
from fairlit.mitigation.face_editing.settings import EditedSet
from fairlit.mitigation.method import as_plain
from fairlit.mitigation.output_editing import edit_record
from fairlit.pictures.files import UnreadableImageError, read_image, read_parameters, read_profile, save_png
from fairlit.pictures.manifest import MANIFEST, read_manifest, write_manifest
from fairlit.results.edits import DamagedImage, EditLog, EditRecord, ImageEdits, SetEdits
from fairlit.results.manifest import ManifestEntry


@dataclass(frozen=True, kw_only=True)
class EditingPlan:
    """Everything that fixes the edits of a folder.

    Attributes:
        folder: the images.
        out: folder for `IMAGES`, in which images without an edit are copies of the files, and `EDITS`.
        method: how faces are chosen and regenerated.
        target: distribution of the faces of each set.
        sampling: steps, guidance and batch size.
        model: pipeline folder or hub id of the model that regenerates faces.
        scope: what makes a set.
        solver: solver to sample with, see `Backbone.load`.
        precision: data type of the weights.
        audit_classifier: classifier that is asked about the edits; None: none is.
        overwrite: whether edits in the folder that were made otherwise are replaced.
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
    audit_classifier: ClassSpec | None = None
    overwrite: bool = False

    def sets(self) -> dict[str, list[FoundImage]]:
        """The images of each set, by its name: the prompt, or "all images"."""
        if self.scope == "folder":
            return {"all images": list(self.folder.images)}
        sets: dict[str, list[FoundImage]] = {}
        for image in self.folder.images:
            sets.setdefault(self.folder.prompts[image.prompt], []).append(image)
        return sets

    @cached_property
    def digests(self) -> dict[str, str]:
        """Name of a model -> digest of what its path held when it was first asked for.

        Raises:
            CheckpointError: a model is missing or damaged.
            ConfigurationError: a model cannot be opened.
        """
        auditor = self.audit_classifier
        found = {"model": pipeline_digest(self.model), **self.method.digests()}
        found["audit_classifier"] = None if auditor is None else classifier_digest(auditor)
        return {name: digest for name, digest in found.items() if digest is not None}

    def describe(self) -> dict[str, Any]:
        """Return all settings as plain data: equal ones edit equal images alike."""
        settings = {
            "folder": str(self.folder.root.resolve()),
            "model": self.model,
            "method": self.method.describe(),
            "target": self.target.to_dict(),
            "scope": self.scope,
            "steps": self.sampling.steps,
            "guidance_scale": self.sampling.guidance_scale,
            "solver": self.solver,
            "precision": self.precision,
            "audit_classifier": self.audit_classifier,
            DIGESTS: self.digests,
        }
        return {key: as_plain(value) for key, value in settings.items()}


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


def finished_sets(plan: EditingPlan) -> dict[str, SetEdits]:
    """Return records of the sets that are done already, by name.

    Args:
        plan: what to do.

    Raises:
        ConfigurationError: the folder holds edits that were made otherwise.
    """
    log = EditLog.read(plan.out / EDITS)
    if log is None:
        return {}
    with Problems("edit") as problems:
        found, asked = current_parameters(log.settings), plan.describe()
        how = made_otherwise({key: found[key] for key in asked if key in found}, asked)
        if how is not None and plan.overwrite:
            return {}
        if how is not None:
            problems.add(
                f"out: {plan.out} holds edits that were made with {how}; give another --out, the same settings to go "
                "on, or --overwrite to replace them"
            )
    done = {record.set: record for record in log.sets}
    return {
        name: done[name] for name, images in plan.sets().items() if name in done and _whole(plan, images, done[name])
    }


def _whole(plan: EditingPlan, images: Sequence[FoundImage], record: SetEdits) -> bool:
    """Whether a record is of the images that there are now, and what it speaks of is there."""
    known = {entry.source: entry.mark for entry in record.images}
    known |= {entry.file: entry.mark for entry in record.damaged}
    return known == {image.file: _mark(plan, image) for image in images} and all(
        _is_there(plan.out / IMAGES / entry.file, entry.digest) for entry in record.images
    )


def _is_there(path: Path, digest: str | None) -> bool:
    """Whether an image is as it was written; of earlier versions, which noted no digest, whether there is a file."""
    return path.is_file() and digest in (None, file_digest(path))


def _mark(plan: EditingPlan, image: FoundImage) -> tuple[int, int]:
    """Size and time of change of a source: of another file, another one."""
    _, size, changed = file_mark(plan.folder.root / image.file)
    return size, changed


def edit_folder(
    plan: EditingPlan,
    editor: FaceEditor,
    auditor: Judge | None = None,
    *,
    progress: Callable[[int], None] = lambda count: None,
) -> list[SetEdits]:
    """Edit every set that is not done yet.

    Args:
        plan: what to do.
        editor: editor from `plan.method.face_editor`.
        auditor: judge that says of every change whether it sees the target labels too; None: nobody asks.
        progress: told how many more images are done.

    Returns:
        A record of each set.

    Raises:
        ConfigurationError: the folder holds edits that were made otherwise.
    """
    done = finished_sets(plan)
    sets = plan.sets()
    finished = [done[name] for name in sets if name in done]
    EditLog(settings=plan.describe(), sets=finished).write(plan.out / EDITS)  # without damaged lines
    for name, images in sets.items():
        if name not in done:
            done[name] = _edit_set(plan, editor, name, images=images, auditor=auditor)
            with (plan.out / EDITS).open("a", encoding="utf-8") as stream:
                stream.write(note_line(done[name].to_json()))
        progress(len(images))
    records = [done[name] for name in sets]
    write_manifest(plan.out / IMAGES, _manifest(plan, records))
    return records


def _edit_set(
    plan: EditingPlan, editor: FaceEditor, name: str, *, images: Sequence[FoundImage], auditor: Judge | None
) -> SetEdits:
    """Edits one set and writes its images."""
    pixels: list[Tensor] = []
    usable: list[FoundImage] = []
    damaged: list[DamagedImage] = []
    for image in images:
        try:
            pixels.append(read_image(plan.folder.root / image.file))
            usable.append(image)
        except UnreadableImageError as error:
            damaged.append(DamagedImage(file=image.file, reason=str(error), mark=_mark(plan, image)))
    prompts = [plan.folder.prompts[image.prompt] for image in usable]
    edited = editor(pixels, prompts, plan.method.key(name))
    edits = _edits(edited, editor.target, auditor)
    names = edited_names([image.file for image in plan.folder.images])
    written = [
        _write(plan, image, new, own, names[image.file])
        for image, new, own in zip(usable, edited.images, edits, strict=True)
    ]
    return SetEdits(
        set=name,
        faces=int(edited.before.sum()),
        fewest=edited.fewest,
        before=tuple(edited.before.tolist()),
        after=tuple(edited.after.tolist()),
        pixels=sum(region.numel() for region in edited.regions),
        pixels_in_regions=sum(int(region.sum()) for region in edited.regions),
        pixels_changed_outside=sum(
            int(((old != new).any(dim=0) & ~region).sum())
            for old, new, region in zip(pixels, edited.images, edited.regions, strict=True)
        ),
        compositions=_compositions(edited, plan.method.compositions, editor.target),
        images=tuple(written),
        damaged=tuple(damaged),
    )


def _edits(edited: EditedSet, target: TargetDistribution, auditor: Judge | None) -> list[list[EditRecord]]:
    """The edits of each image; those that were made with what an auditor says of them."""
    edits: list[list[EditRecord]] = [[] for _ in edited.images]
    for change in edited.changes:
        edits[change.image].append(edit_record(change, target))
    if auditor is None:
        return edits
    confirmed = []
    for own, image in zip(edits, edited.images, strict=True):
        faces = auditor.look(image[None])[0].faces if any(edit.made for edit in own) else []
        classes = auditor.classifier.classes
        confirmed.append(
            [replace(edit, confirmed=sees_edit(edit, faces, classes)) if edit.made else edit for edit in own]
        )
    return confirmed


def _write(
    plan: EditingPlan, image: FoundImage, pixels: Tensor, edits: Sequence[EditRecord], edited_name: str
) -> ImageEdits:
    """Writes an image: a copy of the file where nothing was changed, else a PNG that carries its edits."""
    source = plan.folder.root / image.file
    record = ImageEdits(file=image.file, source=image.file, edits=tuple(edits), mark=_mark(plan, image))
    if not record.changed:
        written = plan.out / IMAGES / record.file
        with atomic_path(written) as path:
            shutil.copyfile(source, path)
        return replace(record, digest=file_digest(written))
    written = plan.out / IMAGES / edited_name
    parameters = (read_parameters(source) or {}) | {
        "prompt": plan.folder.prompts[image.prompt],
        "edits": [edit.to_json() for edit in edits],
        "version": fairlit_version(),
    }
    save_png(pixels.float() / 255, written, parameters, read_profile(source))
    return replace(record, file=edited_name, digest=file_digest(written))


def _compositions(
    edited: EditedSet, targets: Mapping[str, Mapping[int, Any]], target: TargetDistribution
) -> dict[str, dict[str, tuple[int, int]]]:
    """Number of faces, of those with a target of compositions -> composition -> images before and after."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for attribute, by_number in targets.items():
        for number in by_number:
            before, after = (
                [tuple(own.bincount(minlength=edited.classes).tolist()) for own in labels if len(own) == number]
                for labels in (edited.labels_before, edited.labels)
            )
            found[str(number)] = {
                composition_name(group, target.classes[attribute]): (before.count(group), after.count(group))
                for group in compositions_of(number, edited.classes)
            }
    return found


def _manifest(plan: EditingPlan, records: Sequence[SetEdits]) -> list[ManifestEntry]:
    """One entry an image, with what the source's manifest says of it, in the source's order.

    Classes that were dealt out to the source are left out: edits have made other classes of some.
    """
    known: dict[str, dict[str, Any]] = {}
    if (plan.folder.root / MANIFEST).is_file():
        sources = [replace(entry, dealt_classes=None) for entry in read_manifest(plan.folder.root)[0]]
        known = {Path(entry.file).as_posix(): entry.to_json() for entry in sources}
    made = {entry.source: entry for record in records for entry in record.images}
    entries = []
    for image in plan.folder.images:
        if image.file in made:
            entry = made[image.file]
            own: dict[str, Any] = {"file": entry.file, "prompt": plan.folder.prompts[image.prompt]}
            own |= {"number": image.number}
            own |= {} if image.num_people is None else {"num_people": image.num_people}
            own |= {"edits": [edit.to_json() for edit in entry.edits]} if entry.edits else {}
            entries.append(ManifestEntry.from_json(known.get(image.file, {}) | own))
    return entries
