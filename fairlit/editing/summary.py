"""What became of a folder that was edited: figures, and a picture of edits before and after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from fairlit.data.prompts.class_words import phrases
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.statistics.fairness import total_variation
from fairlit.functional.statistics.intervals import clopper_pearson
from fairlit.io.wording import counted
from fairlit.mitigation.face_editing.editor import FaceEditor
from fairlit.pictures.comparison import comparison_picture
from fairlit.pictures.files import read_image
from fairlit.pictures.tiles import PictureRow
from fairlit.results.edits import EditingResults, EditingSummary, ImageEdits, SetEdits

_ROWS, _COLUMNS = 8, 4  # sets and images of each that the picture shows


def summarise(records: Sequence[SetEdits], target: TargetDistribution) -> EditingSummary:
    """Return figures over all sets.

    Args:
        records: records from `run.edit_folder`.
        target: classes in the order of the records' counts.
    """
    edits = [edit for record in records for edit in record.edits]
    made = [edit for edit in edits if edit.made]
    counts = {key: torch.tensor([getattr(record, key) for record in records]).sum(dim=0) for key in ("before", "after")}
    names = phrases({}, target)
    confirmed = [edit.confirmed for edit in made if edit.confirmed is not None]
    interval = clopper_pearson(torch.tensor([sum(confirmed)]), len(confirmed)) if confirmed else None
    return EditingSummary(
        sets=len(records),
        images=sum(len(record.images) for record in records),
        faces=sum(record.faces for record in records),
        fewest=sum(record.fewest for record in records),
        chosen=len(edits),
        instead=sum(edit.instead for edit in edits),
        made=len(made),
        tries=sum(edit.tries for edit in edits),
        classes={name: {key: int(rows[place]) for key, rows in counts.items()} for place, name in enumerate(names)},
        compositions=_added(record.compositions for record in records),
        distance={key: _mean_distance(records, key, target) for key in counts},
        asked=len(confirmed),
        confirmed=sum(confirmed) if confirmed else None,
        confirmed_share=sum(confirmed) / len(confirmed) if confirmed else None,
        confirmed_ci=None if interval is None else (float(interval[0, 0]), float(interval[0, 1])),
        pixels_outside=sum(record.pixels - record.pixels_in_regions for record in records),
        pixels_changed_outside=sum(record.pixels_changed_outside for record in records),
        damaged=tuple(entry for record in records for entry in record.damaged),
    )


def summary_lines(results: EditingResults) -> list[str]:
    """Return what a terminal tells of a folder that was edited.

    Args:
        results: what became of it.
    """
    summary = results.summary
    lines = [
        f"faces    {summary.faces} in {counted(summary.images, 'image')} of {counted(summary.sets, 'set')}, as the "
        "classifier that leads the edits sees them"
    ]
    lines += [f"         {name}: {own['before']} before, {own['after']} after" for name, own in summary.classes.items()]
    lines += [
        f"         {number} people, {name}: {before} images before, {after} after"
        for number, rows in summary.compositions.items()
        for name, (before, after) in rows.items()
    ]
    before, after = (summary.distance[key] for key in ("before", "after"))
    if before is not None and after is not None and not summary.compositions:
        lines.append(f"distance {before:.3f} to the target before, {after:.3f} after, mean of the sets")
    instead = f", {summary.instead} of them in the place of others" if summary.instead else ""
    lines.append(f"changes  {summary.made} made of {summary.chosen} chosen{instead}; fewest possible: {summary.fewest}")
    if summary.confirmed_share is not None and summary.confirmed_ci is not None:
        low, high = summary.confirmed_ci
        lines.append(
            f"confirmed by the auditing classifier: {summary.confirmed} of {summary.asked}, "
            f"{summary.confirmed_share:.1%} [{low:.1%}, {high:.1%}]"
        )
    lines.append(f"outside  {summary.pixels_changed_outside} of {summary.pixels_outside} pixels differ")
    listed = f"see {EditingResults.FILE}"
    if summary.damaged:
        lines.append(f"left out {counted(len(summary.damaged), 'image')} that cannot be read; {listed}")
    if results.skipped:
        lines.append(f"left out {counted(len(results.skipped), 'file')}, missing or not an image; {listed}")
    return [*lines, "Attributes are perceived, and classifiers err: judge the result with fairlit audit."]


def _added(parts: Iterable[Mapping[str, Mapping[str, tuple[int, int]]]]) -> dict[str, dict[str, tuple[int, int]]]:
    """Sums, place by place, of tables with the same rows."""
    total: dict[str, dict[str, tuple[int, int]]] = {}
    for part in parts:
        for number, rows in part.items():
            own = total.setdefault(number, {})
            for name, (before, after) in rows.items():
                first, second = own.get(name, (0, 0))
                own[name] = (first + before, second + after)
    return total


def _mean_distance(records: Sequence[SetEdits], key: str, target: TargetDistribution) -> float | None:
    """Mean over sets with a face of the total variation between their faces and the target."""
    distances = [
        total_variation(torch.tensor(getattr(record, key)).double() / sum(getattr(record, key)), target.table.flatten())
        for record in records
        if sum(getattr(record, key))
    ]
    return sum(distances) / len(distances) if distances else None


def edits_picture(source: Path, out: Path, records: Sequence[SetEdits], *, editor: FaceEditor) -> Image.Image | None:
    """Edited images beside what they were, sets with the most edits first; None without any edit.

    Args:
        source: folder of the images as they were.
        out: folder of the edited ones.
        records: records from `run.edit_folder`.
        editor: editor whose detector and classifier say what the picture writes below the images.
    """
    rows: list[PictureRow] = []
    for record in sorted(records, key=lambda record: len(_edited(record)), reverse=True)[:_ROWS]:
        shown = _edited(record)[: 4 * _COLUMNS]  # enough to find some of one size
        pairs = [(read_image(source / entry.source), read_image(out / entry.file)) for entry in shown]
        alike = [pair for pair in pairs if pair[0].shape == pairs[0][0].shape][:_COLUMNS]
        if alike:
            images = {
                "before": torch.stack([before for before, _ in alike]).float() / 255,
                "after": torch.stack([after for _, after in alike]).float() / 255,
            }
            seen = {name: editor.reader.observe(pixels) for name, pixels in images.items()}
            rows.append(PictureRow(record.set, images, seen))
    if not rows:
        return None
    shape: tuple[int, ...] = tuple(next(iter(rows[0].images.values())).shape[-2:])
    rows = [row for row in rows if _shape(row.images["before"]) == shape]  # the picture has tiles of one form
    return comparison_picture(rows, editor.target.classes, {"before": "before", "after": "edited"})


def _edited(record: SetEdits) -> list[ImageEdits]:
    """The images of a set with an edit that was made."""
    return [entry for entry in record.images if entry.changed]


def _shape(images: Tensor) -> tuple[int, ...]:
    return tuple(images.shape[-2:])
