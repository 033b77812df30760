"""Folders of plain pictures, and a judge that reads their colour."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from fairlit.faces import FaceClassifier, Faces
from fairlit.faces.detector import FaceDetectorBase
from fairlit.judging.observations import Judge

RED, BLUE, GREEN = (220, 40, 40), (40, 40, 220), (20, 200, 20)


class AllButGreen(FaceDetectorBase):
    """Takes the middle of every image for a face unless the image is green."""

    def forward(self, images: Tensor) -> Faces:
        height, width = images.shape[-2:]
        index = (images[:, 1].mean(dim=(1, 2)) < 0.5).nonzero().flatten()
        box = images.new_tensor([0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height])
        count = len(index)
        return Faces(index, box.expand(count, 4), images.new_ones(count), images.new_zeros(count, 5, 2), len(images))


class Tint(FaceClassifier):
    """Sees red or blue, and as second attribute light or dark, as sure as the colour is strong."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(8.0))

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        return {"tint": ("red", "blue"), "tone": ("light", "dark")}

    @property
    def temperature(self) -> dict[str, float]:
        return {"tint": 1.0, "tone": 1.0}

    @property
    def size(self) -> int:
        return 8

    def forward(self, faces: Tensor) -> dict[str, Tensor]:
        red, _, blue = (self.scale * faces.mean(dim=(2, 3))).unbind(dim=1)
        return {"tint": torch.stack([red, blue], dim=1), "tone": torch.stack([red * 0, 4 - red - blue], dim=1)}

    def classify(self, images: Tensor, faces: Faces) -> dict[str, Tensor]:
        return self(images[faces.image_index])


HOSTILE = {
    "../../tint\x1b[2J\n<script>": ("=HYPERLINK(1)", "[/red]:smile:\n$x$"),
    "+tone/{{ 7 * 7 }}": ("<img src=x onerror=alert(1)>", "@dark"),
}
"""Names of attributes and classes that are paths, formulas, markup, templates, and commands to a terminal."""


class HostileTint(Tint):
    """`Tint`, whose names are those of somebody who means no good."""

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        return HOSTILE

    @property
    def temperature(self) -> dict[str, float]:
        return dict.fromkeys(HOSTILE, 1.0)

    def forward(self, faces: Tensor) -> dict[str, Tensor]:
        return dict(zip(HOSTILE, super().forward(faces).values(), strict=True))


@pytest.fixture
def judge() -> Judge:
    return Judge(AllButGreen(), Tint().freeze(), {"classifier": "tint", "detector": "not green"})


def write_images(folder: Path, colours: Sequence[tuple[int, int, int]], size: tuple[int, int] = (16, 12)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, colour in enumerate(colours):
        Image.new("RGB", size, colour).save(folder / f"img_{number}.png")


@pytest.fixture
def colour_folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes a folder in the published layout: one list of colours a prompt."""

    def write(*prompts: Sequence[tuple[int, int, int]], name: str = "images") -> Path:
        for number, colours in enumerate(prompts):
            write_images(tmp_path / name / f"prompt_{number}", colours)
        return tmp_path / name

    return write
