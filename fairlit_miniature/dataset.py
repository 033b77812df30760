"""Drawings on disk and in memory: drawn once by the builder, read by every stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor

from fairlit.io.atomic import atomic_path
from fairlit_miniature.canvas import SIZE
from fairlit_miniature.drawing import draw_scene
from fairlit_miniature.world import Scene


@dataclass(frozen=True)
class Drawings:
    """Drawn scenes.

    Attributes:
        scenes: what was drawn.
        pixels: uint8 [N, 3, 64, width], RGB.
        boxes: float32 [N, 3, 4], each person's face as left, top, right, bottom in pixels; NaN where there is nobody.
    """

    scenes: list[Scene]
    pixels: Tensor
    boxes: Tensor

    def __len__(self) -> int:
        return len(self.scenes)

    def images(self, index: Tensor | slice) -> Tensor:
        """Pictures as float32 [n, 3, 64, width] in 0-1."""
        return self.pixels[index].float() / 255.0


def draw(
    name: str, scene_of: Callable[[int], Scene], count: int, file: Path, progress: Progress, width: int = SIZE
) -> Drawings:
    """Draws `count` scenes, or reads them where `file` has them already.

    Args:
        name: shown in the progress bar.
        scene_of: number -> scene; called again when the pixels are read, as scenes are cheap.
        count: number of scenes.
        file: NumPy archive of pixels and boxes.
        progress: where to show a bar.
        width: of the pictures, see `drawing.draw_scene`.
    """
    scenes = [scene_of(index) for index in range(count)]
    if file.exists():
        with np.load(file) as archive:
            pixels, boxes = archive["pixels"], archive["boxes"]
        if len(pixels) == count:
            return Drawings(scenes, torch.from_numpy(pixels), torch.from_numpy(boxes))
    pixels = np.empty((count, 3, SIZE, width), dtype=np.uint8)
    boxes = np.full((count, 3, 4), np.nan, dtype=np.float32)
    bar = progress.add_task(name, total=count)
    for index, scene in enumerate(scenes):
        drawing = draw_scene(scene, width)
        pixels[index] = drawing.pixels.transpose(2, 0, 1)
        boxes[index, : len(drawing.boxes)] = drawing.boxes
        progress.update(bar, completed=index + 1)
    with atomic_path(file) as path, path.open("wb") as stream:
        np.savez(stream, pixels=pixels, boxes=boxes)
    return Drawings(scenes, torch.from_numpy(pixels), torch.from_numpy(boxes))
