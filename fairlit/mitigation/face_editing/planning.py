"""Which faces of a set change: as few as possible, by optimal transport."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from fairlit.functional.alignment.fewest_changes import Changes, fewest_changes, fewest_changes_of_groups
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.alignment.transport import assignment_costs
from fairlit.functional.statistics.composition import Composition
from fairlit.mitigation.face_editing.pictures import FaceOrder, Picture, places_of_faces
from fairlit.mitigation.face_editing.settings import joined


@dataclass(frozen=True, kw_only=True)
class ChangePlanner:
    """Chooses the faces of a set that are to change, and what each is to show.

    Attributes:
        target: distribution of the faces of a set.
        compositions: number of faces -> composition -> share: what images with that many faces are to show instead of
            the target, which holds for the faces of all other images.
        min_side: shortest side of a face that may change, in pixels.
        phrase: (prompt, joint class of the target, kept attribute -> class) -> prompt for a face.
    """

    target: TargetDistribution
    compositions: Mapping[int, Mapping[Composition, float]]
    min_side: float
    phrase: Callable[[str, int, dict[str, int]], str]

    def fewest(self, pictures: Sequence[Picture]) -> int:
        """Return how many faces had to change at least, if every face could be changed."""
        return self._plan(pictures, None).count

    def orders(
        self, pictures: Sequence[Picture], prompts: Sequence[str], settled: Sequence[FaceOrder]
    ) -> list[FaceOrder]:
        """Return the faces that are to change.

        Args:
            pictures: the set.
            prompts: prompt of each image.
            settled: faces that were dealt with; they stay as they are, and so do faces that are too small.
        """
        plan = self._plan(pictures, settled)
        places = places_of_faces(pictures)
        orders = []
        for place in plan.changed.nonzero()[:, 0].tolist():
            (image, face), target_class = places[place], int(plan.target_labels[place])
            kept = {name: int(labels[face]) for name, labels in pictures[image].kept.items()}
            prompt = self.phrase(prompts[image], target_class, kept)
            orders.append(FaceOrder(image=image, face=face, target_class=target_class, prompt=prompt))
        return orders

    def _plan(self, pictures: Sequence[Picture], settled: Sequence[FaceOrder] | None) -> Changes:
        """What each face of the set is to show; without `settled`, as if every face could be changed."""
        boxes = torch.cat([picture.boxes for picture in pictures]) if pictures else torch.zeros(0, 4)
        sizes = torch.tensor([len(picture.labels) for picture in pictures], dtype=torch.long)
        image_index = torch.arange(len(pictures)).repeat_interleave(sizes)
        probabilities = {
            name: torch.cat([picture.probabilities[name] for picture in pictures]) if pictures else torch.zeros(0, k)
            for name, k in zip(self.target.attributes, self.target.table.shape, strict=True)
        }
        labels = joined([picture.labels for picture in pictures])
        fixed = torch.zeros(len(labels), dtype=torch.bool)
        if settled is not None:
            done = {order.place for order in settled}
            small = (boxes[:, 2:] - boxes[:, :2]).amin(dim=1) < self.min_side
            fixed = small | torch.tensor([place in done for place in places_of_faces(pictures)], dtype=torch.bool)
        costs = assignment_costs(probabilities, self.target)
        target_labels, left = labels.clone(), torch.ones(len(labels), dtype=torch.bool)
        for number, compositions in self.compositions.items():
            here = sizes[image_index] == number
            target_labels[here] = fewest_changes_of_groups(
                image_index[here], labels[here], compositions, costs=costs[here], fixed=fixed[here]
            ).target_labels
            left &= ~here
        shares = self.target.table.flatten()
        target_labels[left] = fewest_changes(labels[left], shares, costs[left], fixed=fixed[left]).target_labels
        return Changes(target_labels, target_labels != labels)
