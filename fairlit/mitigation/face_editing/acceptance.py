"""Whether an edited image shows what it should, and nothing else has changed."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from fairlit.functional.boxes.face_matching import match_faces
from fairlit.mitigation.face_editing.pictures import FaceOrder, Picture

_SAME_FACE = 0.3  # least overlap (IoU) of a face before and after an edit


def accept(before: Picture, after: Picture, order: FaceOrder, *, region: Tensor) -> Picture | None:
    """Return the picture after an edit, its faces in their old order; None where it is not to be kept.

    It is kept where the face shows its target class and every other face that counts its old one.

    Args:
        before: picture before the edit.
        after: picture as detector and classifier see it now.
        order: face that was to change.
        region: where the image may differ, bool [H, W].
    """
    faces = len(before.labels)
    index = torch.zeros(faces, dtype=torch.long)
    if len(after.labels) != faces:  # the face is gone, or there is one more
        return None
    partners = match_faces(index, before.boxes, index, other_boxes=after.boxes, min_iou=_SAME_FACE)
    if bool((partners < 0).any()):
        return None
    expected = before.labels.clone()
    expected[order.face] = order.target_class
    labels = after.labels[partners]
    if bool((labels != expected).any()):
        return None
    boxes, region = after.boxes[partners], before.region | region
    return replace(before, pixels=after.pixels, boxes=boxes, labels=labels, region=region)
