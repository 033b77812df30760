"""What became of a folder that was edited: figures, and a picture of edits before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from fairlit.faces.observation import observe
from fairlit.functional.fairness import total_variation
from fairlit.functional.intervals import clopper_pearson
from fairlit.functional.target_distribution import TargetDistribution
from fairlit.mitigation.class_words import phrases
from fairlit.mitigation.face_editing import FaceEditor
from fairlit.pictures.comparison import PictureRow, comparison_picture
from fairlit.pictures.files import read_image

_ROWS, _COLUMNS = 8, 4  # sets and images of each that the picture shows


def summarise(records: Sequence[Mapping[str, Any]], target: TargetDistribution) -> dict[str, Any]:
    """Figures over all sets.

    Args:
        records: from `folder.edit_folder`.
        target: classes in the order of the records' counts.

    Returns:
        `faces`; `fewest`, the least number of faces that must change for every set to come to whole numbers nearest to
        the target; `chosen`, faces that were to change, among them those chosen in the place of others that could not
        be; `made`, those that did; `tries`, how often a face was made anew; `classes`: class -> faces before and
        after; `distance`: of each set to the target, the mean over sets, before and after; `confirmed`: among the
        changes that were made, those that the auditing classifier sees too (None where nobody asked), their share and
        its 95 % interval (exact; it takes changes for independent); `pixels_outside`, pixels that belong to no changed
        face, and `pixels_changed_outside`, how many of these differ from the source; `damaged` files.
    """
    edits = [edit for record in records for entry in record["images"] for edit in entry["edits"]]
    made = [edit for edit in edits if edit["made"]]
    counts = {key: torch.tensor([record[key] for record in records]).sum(dim=0) for key in ("before", "after")}
    names = phrases({}, target)
    confirmed = [edit["confirmed"] for edit in made if "confirmed" in edit]
    interval = clopper_pearson(torch.tensor([sum(confirmed)]), len(confirmed)) if confirmed else None
    return {
        "sets": len(records),
        "images": sum(len(record["images"]) for record in records),
        "faces": sum(record["faces"] for record in records),
        "fewest": sum(record["fewest"] for record in records),
        "chosen": len(edits),
        "made": len(made),
        "tries": sum(edit["tries"] for edit in edits),
        "classes": {name: {key: int(rows[place]) for key, rows in counts.items()} for place, name in enumerate(names)},
        "distance": {key: _mean_distance(records, key, target) for key in counts},
        "confirmed": sum(confirmed) if confirmed else None,
        "asked": len(confirmed),
        "confirmed_share": sum(confirmed) / len(confirmed) if confirmed else None,
        "confirmed_ci": None if interval is None else interval[0].tolist(),
        "pixels_outside": sum(record["pixels"] - record["pixels_in_regions"] for record in records),
        "pixels_changed_outside": sum(record["pixels_changed_outside"] for record in records),
        "damaged": [entry for record in records for entry in record["damaged"]],
    }


def _mean_distance(records: Sequence[Mapping[str, Any]], key: str, target: TargetDistribution) -> float | None:
    """Mean over sets with a face of the total variation between their faces and the target."""
    distances = [
        total_variation(torch.tensor(record[key]).double() / sum(record[key]), target.table.flatten())
        for record in records
        if sum(record[key])
    ]
    return sum(distances) / len(distances) if distances else None


def edits_picture(
    source: Path, out: Path, records: Sequence[Mapping[str, Any]], editor: FaceEditor
) -> Image.Image | None:
    """Edited images beside what they were, sets with the most edits first; None without any edit.

    Args:
        source: folder of the images as they were.
        out: folder of the edited ones.
        records: from `folder.edit_folder`.
        editor: its detector and classifier say what the picture writes below the images.
    """
    rows = []
    for record in sorted(records, key=lambda record: -record["fewest"])[:_ROWS]:
        edited = [entry for entry in record["images"] if any(edit["made"] for edit in entry["edits"])]
        shown = edited[: 4 * _COLUMNS]  # enough to find some of one size
        pairs = [(read_image(source / entry["source"]), read_image(out / entry["file"])) for entry in shown]
        alike = [pair for pair in pairs if pair[0].shape == pairs[0][0].shape][:_COLUMNS]
        if alike:
            images = {
                "before": torch.stack([before for before, _ in alike]).float() / 255,
                "after": torch.stack([after for _, after in alike]).float() / 255,
            }
            seen = {
                name: observe(pixels.to(editor.classifier.device), editor.detector, editor.classifier, editor.people)
                for name, pixels in images.items()
            }
            rows.append(PictureRow(record["set"], images, {name: entry.to("cpu") for name, entry in seen.items()}))
    if not rows:
        return None
    shape: tuple[int, ...] = tuple(next(iter(rows[0].images.values())).shape[-2:])
    rows = [row for row in rows if _shape(row.images["before"]) == shape]  # the picture has tiles of one form
    return comparison_picture(rows, editor.target.classes, {"before": "before", "after": "edited"})


def _shape(images: Tensor) -> tuple[int, ...]:
    return tuple(images.shape[-2:])
