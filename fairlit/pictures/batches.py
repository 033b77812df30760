"""Pictures of files in batches, which are smaller where the pictures are large."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from fairlit.pictures.files import UnreadableImageError, read_image

MAX_BATCH_PIXELS = 32 * 1024 * 1024
"""Pixels that are looked at together: 32 images of 1024 x 1024, or two photographs of 12 megapixels."""


def images_at_once(pixels: int, batch_size: int) -> int:
    """Return the number of images that go through a network together.

    Args:
        pixels: number of pixels of an image.
        batch_size: number of images that is wanted.

    Examples:
        >>> images_at_once(1024 * 1024, 16), images_at_once(4000 * 3000, 16), images_at_once(10**9, 16)
        (16, 2, 1)
    """
    return max(1, min(batch_size, MAX_BATCH_PIXELS // max(pixels, 1)))


@dataclass(frozen=True)
class PictureBatch:
    """Pictures that are looked at together.

    Attributes:
        files: their paths within the folder.
        pictures: their pixels, each [3, H, W].
        refused: file that cannot be read -> why; those met on the way to this batch.
    """

    files: list[str] = field(default_factory=list)
    pictures: list[Tensor] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    def has_room(self, picture: Tensor, batch_size: int) -> bool:
        """Return whether one more picture may be looked at together with these."""
        pixels = sum(other[0].numel() for other in [*self.pictures, picture])
        return not self.files or (len(self.files) < batch_size and pixels <= MAX_BATCH_PIXELS)


def read_batches(
    root: Path,
    files: Sequence[str],
    *,
    batch_size: int,
    read: Callable[[Path], Tensor] = read_image,
    mixed: bool = False,
) -> Iterator[PictureBatch]:
    """Yield the pictures of files in their order; the last batch may hold nothing but refused files.

    Args:
        root: folder of the files.
        files: paths within it.
        batch_size: largest number of pictures in a batch; there are fewer where they have many pixels.
        read: reader of a picture.
        mixed: whether a batch holds pictures of any sizes, in place of neighbours of one size.
    """
    batch = PictureBatch()
    for file in files:
        try:
            picture = read(root / file)
        except UnreadableImageError as error:
            batch.refused[file] = str(error)
            continue
        alike = mixed or all(other.shape == picture.shape for other in batch.pictures[:1])
        if not alike or not batch.has_room(picture, batch_size):
            yield batch
            batch = PictureBatch()
        batch.files.append(file)
        batch.pictures.append(picture)
    if batch.files or batch.refused:
        yield batch
