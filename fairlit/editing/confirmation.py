"""Whether somebody else sees what an edit was to show."""

from __future__ import annotations

import torch
from torch import Tensor

from fairlit.audit.observations import Judge, SeenFace
from fairlit.functional.counts import joint_cells
from fairlit.functional.face_matching import match_faces
from fairlit.functional.target_distribution import TargetDistribution
from fairlit.mitigation.face_editing import EditedSet

_SAME_FACE = 0.3  # least overlap (IoU) of the edited face's place with a face that the auditor finds


def confirm_changes(edited: EditedSet, auditor: Judge, target: TargetDistribution) -> list[bool]:
    """Of every change: whether it was made, and the auditor takes the face in that place for the wanted class.

    Args:
        edited: a set after editing.
        auditor: a judge with another classifier than the one that led the edits.
        target: attributes and classes in the order of the changes' cells.
    """
    seen: dict[int, list[SeenFace]] = {}
    for image in sorted({change.image for change in edited.changes if change.made}):
        seen[image] = auditor.look(edited.images[image][None])[0].faces
    classes = auditor.classifier.classes
    return [
        change.made and _cell_at(change.box, seen[change.image], target, classes) == change.wanted
        for change in edited.changes
    ]


def _cell_at(
    box: tuple[float, float, float, float],
    faces: list[SeenFace],
    target: TargetDistribution,
    classes: dict[str, tuple[str, ...]],
) -> int:
    """Joint class of the face that overlaps a box most; -1 where none does."""
    if not faces:
        return -1
    one, index = torch.zeros(1, dtype=torch.long), torch.zeros(len(faces), dtype=torch.long)
    boxes = torch.tensor([face.box for face in faces])
    partner = int(match_faces(one, torch.tensor([box]), index, boxes, least_iou=_SAME_FACE)[0])
    if partner < 0:
        return -1
    labels: list[Tensor] = []
    for name, own in target.classes.items():
        p = faces[partner].probabilities[name]
        best = max(range(len(p)), key=p.__getitem__)
        labels.append(torch.tensor(own.index(classes[name][best])))
    return int(joint_cells(torch.stack(labels)[None], tuple(target.table.shape))[0])
