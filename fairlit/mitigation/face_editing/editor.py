"""Makes faces of finished images anew, one by one, until a set of images meets its target."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from fairlit.diffusion.inpainting import Inpainter
from fairlit.faces import FaceClassifier
from fairlit.faces.observation import People, observe
from fairlit.functional.alignment.fewest_changes import Changes, fewest_changes, fewest_changes_of_groups
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.functional.alignment.transport import assignment_costs
from fairlit.functional.boxes.face_matching import match_faces
from fairlit.functional.boxes.face_regions import face_regions, fade_at_window, set_in
from fairlit.functional.statistics.composition import Composition
from fairlit.functional.statistics.counts import joint_classes
from fairlit.mitigation.face_editing.settings import EditedSet, FaceChange, FaceEditing, joined

_SAME_FACE = 0.3  # least overlap (IoU) of a face before and after an edit


@dataclass
class _Picture:
    """One image while it is edited, and the F faces that count in it.

    Attributes:
        pixels: uint8 [3, H, W].
        boxes: [F, 4].
        cells: int64 [F], joint classes.
        probabilities: attribute -> [F, K], as the image was at first.
        kept: attribute -> int64 [F], classes of the attributes that are to stay, as the image was at first.
        region: bool [H, W], what was made anew.
        others: [G, 4], boxes of the faces that do not count.
    """

    pixels: Tensor
    boxes: Tensor
    cells: Tensor
    probabilities: dict[str, Tensor]
    kept: dict[str, Tensor]
    region: Tensor
    others: Tensor


@dataclass
class _Order:
    """One face that is to change."""

    image: int
    face: int
    wanted: int
    tries: int = 0
    made: bool = False
    prompt: str = ""

    @property
    def place(self) -> tuple[int, int]:
        """Which face of which image."""
        return self.image, self.face


class FaceEditor:
    """Brings sets of finished images to a target by changing as few faces as possible.

    Which faces change is settled by optimal transport; each is made anew by masked img2img under a prompt that names
    what it is to show, and kept only if the classifier sees that and nobody else who counts has become another. What
    lies outside the regions of changed faces stays as it was to the last bit.

    The classifier that chooses and checks here errs, and faces that please it are kept: judge by another one.

    Args:
        inpainter: makes parts of images anew.
        detector: finds all faces of an image.
        classifier: says how they look.
        target: what the faces of a set shall show; attributes and classes in the classifier's order.
        phrase: (prompt, joint class of the target, kept attribute -> class) -> prompt for a face.
        settings: how a face is made anew.
        people: whose faces count.
        kept: attributes that a prompt names as the face shows them, so that they stay.
        batch_size: images or windows that go through a model together.
        compositions: number of people -> composition -> share: what images in which so many faces are found shall show,
            instead of the target, which holds for the faces of all other images.
    """

    def __init__(
        self,
        inpainter: Inpainter,
        detector: nn.Module,
        classifier: FaceClassifier,
        target: TargetDistribution,
        phrase: Callable[[str, int, dict[str, int]], str],
        settings: FaceEditing,
        people: People = "all",
        kept: Sequence[str] = (),
        batch_size: int = 16,
        compositions: Mapping[int, Mapping[Composition, float]] | None = None,
    ) -> None:
        self.compositions = compositions or {}
        self.inpainter, self.detector, self.classifier = inpainter, detector, classifier
        self.target, self.phrase, self.settings = target, phrase, settings
        self.people, self.kept, self.batch_size = people, tuple(kept), batch_size

    def __call__(self, images: Sequence[Tensor], prompts: Sequence[str], key: tuple[int, ...]) -> EditedSet:
        """Edits one set.

        Args:
            images: N of them, uint8 [3, H, W] RGB, of any sizes.
            prompts: what each was asked for.
            key: of the noise; equal sets with equal keys are edited alike.
        """
        pictures = self._look(list(images))
        first, before = [picture.boxes for picture in pictures], [picture.cells for picture in pictures]
        fewest = self._plan(pictures).count
        settled: list[_Order] = []
        changes: list[FaceChange] = []
        for turn in range(1 + self.settings.replans):
            orders = self._orders(self._plan(pictures, settled), pictures, prompts)
            was = {order.place: int(pictures[order.image].cells[order.face]) for order in orders}
            self._carry_out(orders, pictures, key)
            settled += orders
            changes += [_change(order, first, was[order.place], instead=turn > 0) for order in orders]
            if all(order.made for order in orders):
                break
        edited, regions = [picture.pixels for picture in pictures], [picture.region for picture in pictures]
        after = [picture.cells for picture in pictures]
        return EditedSet(edited, regions, changes, fewest, before, after, self.target.table.numel())

    def _plan(self, pictures: Sequence[_Picture], settled: Sequence[_Order] | None = None) -> Changes:
        """What each face of the set is to show; settled ones stay, and so do faces that are too small.

        Without `settled`: what it would be if every face could be changed.
        """
        boxes = torch.cat([picture.boxes for picture in pictures]) if pictures else torch.zeros(0, 4)
        sizes = torch.tensor([len(picture.cells) for picture in pictures], dtype=torch.long)
        image_index = torch.arange(len(pictures)).repeat_interleave(sizes)
        probabilities = {
            name: torch.cat([picture.probabilities[name] for picture in pictures]) if pictures else torch.zeros(0, k)
            for name, k in zip(self.target.attributes, self.target.table.shape, strict=True)
        }
        cells = joined([picture.cells for picture in pictures])
        places = [(image, face) for image, picture in enumerate(pictures) for face in range(len(picture.cells))]
        fixed = torch.zeros(len(cells), dtype=torch.bool)
        if settled is not None:
            done = {order.place for order in settled}
            small = (boxes[:, 2:] - boxes[:, :2]).amin(dim=1) < self.settings.least_side
            fixed = small | torch.tensor([place in done for place in places], dtype=torch.bool)
        costs = assignment_costs(probabilities, self.target)
        wanted, left = cells.clone(), torch.ones(len(cells), dtype=torch.bool)
        for people, compositions in self.compositions.items():
            here = sizes[image_index] == people
            wanted[here] = fewest_changes_of_groups(
                image_index[here], cells[here], compositions, costs[here], fixed[here]
            ).wanted
            left &= ~here
        shares = self.target.table.flatten()
        wanted[left] = fewest_changes(cells[left], shares, costs[left], fixed[left]).wanted
        return Changes(wanted, wanted != cells)

    def _orders(self, plan: Changes, pictures: Sequence[_Picture], prompts: Sequence[str]) -> list[_Order]:
        places = [(image, face) for image, picture in enumerate(pictures) for face in range(len(picture.cells))]
        orders = []
        for place in plan.changed.nonzero()[:, 0].tolist():
            (image, face), wanted = places[place], int(plan.wanted[place])
            kept = {name: int(pictures[image].kept[name][face]) for name in self.kept}
            orders.append(_Order(image, face, wanted, prompt=self.phrase(prompts[image], wanted, kept)))
        return orders

    def _carry_out(self, orders: Sequence[_Order], pictures: list[_Picture], key: tuple[int, ...]) -> None:
        """Makes the faces anew; those of one image after each other, those of different images together."""
        waiting = list(orders)
        while waiting:
            turn = [next(own) for _, own in itertools.groupby(waiting, key=lambda order: order.image)]
            for start in range(0, len(turn), self.batch_size):
                self._attempt(turn[start : start + self.batch_size], pictures, key)
            waiting = [order for order in waiting if not order.made and order.tries < self.settings.tries]

    def _attempt(self, turn: Sequence[_Order], pictures: list[_Picture], key: tuple[int, ...]) -> None:
        """One attempt at a face of each of several images."""
        windows = [self._window(pictures[order.image], order.face) for order in turn]
        masks = [
            self._mask(pictures[order.image], order.face, window) for order, window in zip(turn, windows, strict=True)
        ]
        edited = self._made_anew(turn, [pictures[order.image] for order in turn], windows, masks, key)
        candidates = [
            set_in(pictures[order.image].pixels, new, mask)
            for order, new, mask in zip(turn, edited, masks, strict=True)
        ]
        for order, candidate, mask in zip(turn, self._look(candidates), masks, strict=True):
            order.tries += 1
            accepted = _accept(pictures[order.image], candidate, order, mask > 0)
            if accepted is not None:
                pictures[order.image], order.made = accepted, True

    def _mask(self, picture: _Picture, face: int, window: tuple[slice, slice]) -> Tensor:
        height, width = picture.pixels.shape[-2:]
        settings = self.settings
        boxes = torch.cat([picture.boxes, picture.others])
        mask = face_regions(boxes, height, width, grow=settings.grow, feather=settings.feather)[face]
        side = float((picture.boxes[face, 2:] - picture.boxes[face, :2]).amin())
        return fade_at_window(mask, window, max(settings.feather * side / 2, 1.0))

    def _made_anew(
        self,
        turn: Sequence[_Order],
        pictures: Sequence[_Picture],
        windows: Sequence[tuple[slice, slice]],
        masks: Sequence[Tensor],
        key: tuple[int, ...],
    ) -> list[Tensor]:
        """Images [3, H, W] in [0, 1] with one face each made anew; what the model was not shown is as it was."""
        size = self._size
        results = [picture.pixels.float() / 255 for picture in pictures]
        shown = [_view(image, window, size) for image, window in zip(results, windows, strict=True)]
        covers = [_view(mask[None], window, size)[0] for mask, window in zip(masks, windows, strict=True)]
        by_size: dict[tuple[int, ...], list[int]] = {}
        for place, image in enumerate(shown):
            by_size.setdefault(tuple(image.shape), []).append(place)
        for places in by_size.values():
            made = self.inpainter(
                torch.stack([shown[place] for place in places]),
                torch.stack([covers[place] for place in places]),
                [turn[place].prompt for place in places],
                [(*key, *turn[place].place, turn[place].tries) for place in places],
            )
            for place, new in zip(places, made, strict=True):
                rows, columns = windows[place]
                part = results[place][:, rows, columns]
                part.copy_(_resized(new, (part.shape[-2], part.shape[-1])))
        return results

    @property
    def _size(self) -> tuple[int, ...] | None:
        """Height and width at which the model is shown a window; None: it is shown the image as it is."""
        if self.settings.region == "image":
            return None
        backbone = self.inpainter.backbone
        return tuple(side * backbone.vae_scale for side in backbone.latent_shape()[1:])

    def _window(self, picture: _Picture, face: int) -> tuple[slice, slice]:
        """Rows and columns of an image that the model is shown."""
        size = self._size
        height, width = picture.pixels.shape[-2:]
        if size is None:
            return slice(0, height), slice(0, width)
        left, top, right, bottom = picture.boxes[face].tolist()
        tall = max(bottom - top, right - left, 1.0) / self.settings.face_share
        scale = min(tall / size[0], height / size[0], width / size[1])  # never more than the image
        rows, columns = (max(round(side * scale), 1) for side in size)
        first_row = round((top + bottom - rows) / 2)
        first_column = round((left + right - columns) / 2)
        first_row, first_column = (
            min(max(first_row, 0), height - rows),
            min(max(first_column, 0), width - columns),
        )
        return slice(first_row, first_row + rows), slice(first_column, first_column + columns)

    @torch.no_grad()
    def _look(self, images: list[Tensor]) -> list[_Picture]:
        """What detector and classifier see; images of one size go through them together."""
        found: list[_Picture | None] = [None] * len(images)
        order = sorted(range(len(images)), key=lambda place: tuple(images[place].shape))
        for _, same in itertools.groupby(order, key=lambda place: tuple(images[place].shape)):
            places = list(same)
            for start in range(0, len(places), self.batch_size):
                batch = places[start : start + self.batch_size]
                for place, picture in zip(batch, self._look_at([images[p] for p in batch]), strict=True):
                    found[place] = picture
        return [picture for picture in found if picture is not None]

    def _look_at(self, images: list[Tensor]) -> list[_Picture]:
        pixels = torch.stack(images).to(self.classifier.device).float() / 255
        seen = observe(pixels, self.detector, self.classifier, "all").to("cpu")
        counts = seen.faces.position == 0 if self.people == "largest" else torch.ones(len(seen.faces), dtype=torch.bool)
        labels = {name: rows.argmax(dim=1) for name, rows in seen.probabilities.items()}
        cells = joint_classes(
            torch.stack([labels[name] for name in self.target.attributes], dim=1), tuple(self.target.table.shape)
        )
        pictures = []
        for place, image in enumerate(images):
            here = seen.faces.image_index == place
            own = here & counts
            probabilities = {name: seen.probabilities[name][own] for name in self.target.attributes}
            kept = {name: labels[name][own] for name in self.kept}
            untouched = torch.zeros(image.shape[-2:], dtype=torch.bool)
            boxes, others = seen.faces.boxes[own], seen.faces.boxes[here & ~counts]
            pictures.append(_Picture(image, boxes, cells[own], probabilities, kept, untouched, others))
        return pictures


def _accept(before: _Picture, after: _Picture, order: _Order, region: Tensor) -> _Picture | None:
    """The picture after an edit, its faces in their old order, where the edit did what it should and nothing else."""
    faces = len(before.cells)
    index = torch.zeros(faces, dtype=torch.long)
    if len(after.cells) != faces:  # the face is gone, or there is one more
        return None
    partners = match_faces(index, before.boxes, index, after.boxes, least_iou=_SAME_FACE)
    if bool((partners < 0).any()):
        return None
    wanted = before.cells.clone()
    wanted[order.face] = order.wanted
    cells = after.cells[partners]
    if bool((cells != wanted).any()):
        return None
    region = before.region | region
    return replace(before, pixels=after.pixels, boxes=after.boxes[partners], cells=cells, region=region)


def _change(order: _Order, boxes: Sequence[Tensor], before: int, *, instead: bool) -> FaceChange:
    left, top, right, bottom = (round(side, 2) for side in boxes[order.image][order.face].tolist())
    return FaceChange(order.image, (left, top, right, bottom), before, order.wanted, order.tries, instead, order.made)


def _view(image: Tensor, window: tuple[slice, slice], size: tuple[int, ...] | None) -> Tensor:
    """The window of an image [C, H, W], at the size that the model is shown."""
    part = image[:, window[0], window[1]]
    return part if size is None else _resized(part, (size[0], size[1]))


def _resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(image.shape[-2:]) == size:
        return image
    return functional.interpolate(image[None], size=size, mode="bicubic", antialias=True, align_corners=False)[0].clamp(
        0, 1
    )
