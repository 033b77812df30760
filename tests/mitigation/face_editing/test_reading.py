from __future__ import annotations

import pytest
import torch
from coloured_folders import BLUE, GREEN, RED, AllButGreen, Tint
from torch import Tensor

from fairlit.faces import Faces
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.mitigation.face_editing.reading import PictureReader
from fairlit.pictures import batches

TARGET = TargetDistribution({"tint": {"red": 0.5, "blue": 0.5}})


class Counting(AllButGreen):
    """Notes how many images are looked at together."""

    def __init__(self) -> None:
        super().__init__()
        self.together: list[int] = []

    def forward(self, images: Tensor) -> Faces:
        self.together.append(len(images))
        return super().forward(images)


def test_images_keep_their_order_and_fewer_large_ones_are_looked_at_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_BATCH_PIXELS", 32 * 32 * 2)
    detector = Counting()
    reader = PictureReader(
        detector=detector,  # type: ignore[arg-type]
        classifier=Tint().freeze(),
        target=TARGET,
        faces="all",
        kept=(),
        batch_size=4,
    )
    looks = [(RED, 32), (BLUE, 8), (GREEN, 32), (BLUE, 32), (RED, 8), (BLUE, 8)]
    images = [torch.tensor(colour, dtype=torch.uint8).view(3, 1, 1).expand(3, side, side) for colour, side in looks]
    found = reader(images)
    assert detector.together == [3, 2, 1]
    assert [picture.labels.tolist() for picture in found] == [[0], [1], [], [1], [0], [1]]
    assert all(torch.equal(picture.pixels, image) for picture, image in zip(found, images, strict=True))
