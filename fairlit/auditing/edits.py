"""Whether a judge sees what edits of faces were to show, see `mitigation.OutputEditing`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from fairlit.faces.detection import FaceSelection
from fairlit.functional.boxes.face_matching import match_faces
from fairlit.judging.image_folders import ImageFolder
from fairlit.judging.observations import Seen, SeenFace
from fairlit.pictures.files import read_parameters
from fairlit.results.comparison import EditCounts
from fairlit.results.edits import EditRecord, read_edits

_SAME_FACE = 0.3  # least overlap (IoU) of an edited face's place with a face that the judge finds


def sees_edit(edit: EditRecord, faces: Sequence[SeenFace], classes: Mapping[str, Sequence[str]]) -> bool:
    """Return whether the face in the place of an edit is taken for what the edit was to show.

    Args:
        edit: one face that was to change.
        faces: what the judge sees in the edited image.
        classes: attribute -> class names, in the order of the faces' probabilities.
    """
    if not faces:
        return False
    place, index = torch.zeros(1, dtype=torch.long), torch.zeros(len(faces), dtype=torch.long)
    boxes = torch.tensor([face.box for face in faces])
    partner = int(match_faces(place, torch.tensor([edit.box]), index, other_boxes=boxes, min_iou=_SAME_FACE)[0])
    if partner < 0:
        return False
    probabilities = faces[partner].probabilities
    return all(
        classes[name][max(range(len(probabilities[name])), key=probabilities[name].__getitem__)] == label
        for name, label in edit.target_labels.items()
    )


def count_edits(
    folder: ImageFolder, seen: Sequence[Seen], classes: Mapping[str, Sequence[str]], *, selection: FaceSelection
) -> EditCounts | None:
    """Return the numbers of edits of the images of a folder; None where there are none.

    Args:
        folder: the images, which carry their edits in their parameters.
        seen: what the judge saw in them.
        classes: attribute -> class names, in the order of the probabilities in `seen`.
        selection: faces that the judge looked at; a judge of the largest ones cannot confirm edits.
    """
    chosen = made = confirmed = 0
    for image, found in zip(folder.images, seen, strict=True):
        for edit in read_edits(read_parameters(folder.root / image.file)):
            chosen += 1
            made += edit.made
            confirmed += edit.made and sees_edit(edit, found.faces, classes)
    if not chosen:
        return None
    return EditCounts(chosen=chosen, made=made, confirmed=confirmed if selection == "all" else None)
