"""What generating images has led to."""

from __future__ import annotations

from dataclasses import dataclass

from fairlit.results.record import Record


@dataclass(frozen=True, kw_only=True)
class GenerationResults(Record):
    """Images of a set of prompts.

    Attributes:
        folder: folder of the images.
        manifest: file that lists every image with its parameters.
        prompts: texts of the prompts.
        images: number of images that the manifest lists.
        made: number of images made by this call; the others were there already.
    """

    folder: str
    manifest: str
    prompts: tuple[str, ...]
    images: int
    made: int
