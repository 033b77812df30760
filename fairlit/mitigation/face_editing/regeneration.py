"""Single faces regenerated: what the model is shown of an image, under which mask, and what comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from fairlit.functional.boxes.face_regions import face_regions, fade_at_window, set_in
from fairlit.mitigation.face_editing.pictures import FaceOrder, Picture
from fairlit.mitigation.face_editing.settings import FaceEditing

if TYPE_CHECKING:
    from fairlit.diffusion import Backbone

Window: TypeAlias = tuple[slice, slice]
"""Rows and columns of an image."""

Inpaint: TypeAlias = Callable[[Tensor, Tensor, Sequence[str], Sequence[tuple[int, ...]]], Tensor]
"""(images [n, 3, H, W] in [0, 1], masks [n, H, W], prompts, keys of the noise) -> images; see `Inpainter`."""


@dataclass(frozen=True, kw_only=True)
class FaceRegenerator:
    """Regenerates one face of each of several images.

    Attributes:
        inpaint: model that regenerates parts of images.
        backbone: model whose size windows are brought to; None where it is shown whole images.
        settings: how a face is regenerated.
    """

    inpaint: Inpaint
    backbone: Backbone | None
    settings: FaceEditing

    def __call__(
        self, orders: Sequence[FaceOrder], pictures: Sequence[Picture], key: tuple[int, ...]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Regenerate a face of each picture.

        Args:
            orders: faces, one of each picture.
            pictures: their images.
            key: key of the noise of the set.

        Returns:
            The images, uint8 [3, H, W], and for each bool [H, W], where it may differ.
        """
        windows = [self._window(picture, order.face) for order, picture in zip(orders, pictures, strict=True)]
        masks = [
            self._mask(picture, order.face, window)
            for order, picture, window in zip(orders, pictures, windows, strict=True)
        ]
        results = self._inpainted(orders, pictures, windows, masks=masks, key=key)
        edited = [
            set_in(picture.pixels, new, mask) for picture, new, mask in zip(pictures, results, masks, strict=True)
        ]
        return edited, [mask > 0 for mask in masks]

    def _mask(self, picture: Picture, face: int, window: Window) -> Tensor:
        height, width = picture.pixels.shape[-2:]
        settings = self.settings
        boxes = torch.cat([picture.boxes, picture.others])
        mask = face_regions(boxes, height, width, grow=settings.grow, feather=settings.feather)[face]
        side = float((picture.boxes[face, 2:] - picture.boxes[face, :2]).amin())
        return fade_at_window(mask, window, max(settings.feather * side / 2, 1.0))

    def _inpainted(
        self,
        orders: Sequence[FaceOrder],
        pictures: Sequence[Picture],
        windows: Sequence[Window],
        *,
        masks: Sequence[Tensor],
        key: tuple[int, ...],
    ) -> list[Tensor]:
        """Images [3, H, W] in [0, 1] with one face each regenerated; what the model was not shown is as it was."""
        size = self._size
        results = [picture.pixels.float() / 255 for picture in pictures]
        shown = [_view(image, window, size) for image, window in zip(results, windows, strict=True)]
        covers = [_view(mask[None], window, size)[0] for mask, window in zip(masks, windows, strict=True)]
        by_size: dict[tuple[int, ...], list[int]] = {}
        for place, image in enumerate(shown):
            by_size.setdefault(tuple(image.shape), []).append(place)
        for places in by_size.values():
            made = self.inpaint(
                torch.stack([shown[place] for place in places]),
                torch.stack([covers[place] for place in places]),
                [orders[place].prompt for place in places],
                [(*key, *orders[place].place, orders[place].tries) for place in places],
            )
            for place, new in zip(places, made, strict=True):
                rows, columns = windows[place]
                part = results[place][:, rows, columns]
                part.copy_(_resized(new, (part.shape[-2], part.shape[-1])))
        return results

    @property
    def _size(self) -> tuple[int, int] | None:
        """Height and width at which the model is shown a window; None: it is shown the image as it is."""
        if self.settings.region == "image" or self.backbone is None:
            return None
        height, width = (side * self.backbone.vae_scale for side in self.backbone.latent_shape()[1:])
        return height, width

    def _window(self, picture: Picture, face: int) -> Window:
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


def _view(image: Tensor, window: Window, size: tuple[int, int] | None) -> Tensor:
    """The window of an image [C, H, W], at the size that the model is shown."""
    part = image[:, window[0], window[1]]
    return part if size is None else _resized(part, size)


def _resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(image.shape[-2:]) == size:
        return image
    return functional.interpolate(image[None], size=size, mode="bicubic", antialias=True, align_corners=False)[0].clamp(
        0, 1
    )
