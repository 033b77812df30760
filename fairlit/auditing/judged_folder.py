"""A folder of images, what was seen in it, and the figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fairlit.judging.image_folders import ImageFolder
from fairlit.judging.observations import Seen
from fairlit.results.figures import DistributionFigures
from fairlit.results.judging import FolderRecord, NotCounted


@dataclass(frozen=True)
class JudgedFolder:
    """One folder after the judge has looked at it.

    Attributes:
        folder: the images.
        seen: what was seen in each.
        figures: figures of the images, from `auditing.measure.measure`.
    """

    folder: ImageFolder
    seen: Sequence[Seen]
    figures: DistributionFigures

    @property
    def not_counted(self) -> tuple[NotCounted, ...]:
        """What is missing, damaged, or not an image."""
        pairs = zip(self.folder.images, self.seen, strict=True)
        damaged = [NotCounted(image.file, entry.damaged) for image, entry in pairs if entry.damaged is not None]
        return (*self.folder.skipped, *damaged)

    def record(self) -> FolderRecord:
        """Return how many images there are, and how many could be judged."""
        statuses = [entry.status for entry in self.seen]
        return FolderRecord(
            folder=str(self.folder.root),
            layout=self.folder.layout,
            prompts=len(self.folder.prompts),
            images=len(statuses),
            with_face=statuses.count("face"),
            no_face=statuses.count("no face"),
            damaged=statuses.count("damaged"),
            skipped=len(self.folder.skipped),
            not_counted=self.not_counted,
            without_face=tuple(
                image.file for image, status in zip(self.folder.images, statuses, strict=True) if status == "no face"
            ),
        )
