from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from fairlit.faces import Faces
from fairlit.faces.observation import Observation
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.metrics.distribution import DistributionStatistics
from fairlit.pictures.colours import class_colour
from fairlit.pictures.prompt_picture import prompt_picture
from fairlit.pictures.tiles import TILE, PictureRow
from fairlit.results.figures import PromptFigures

CLASSES = {"gender": ("female", "male"), "skin_tone": ("light", "tan", "brown", "dark")}
TARGET = TargetDistribution({name: dict.fromkeys(names, 1 / len(names)) for name, names in CLASSES.items()})
TITLES = {"original": "before", "ema": "after"}
GREYS = {"original": (90, 90, 90), "ema": (150, 150, 150)}


def seen(females: int, faces: int, images: int, side: int = 64) -> tuple[Observation, PromptFigures]:
    """The first images have a face, of which the first are women, all of the first skin tone."""
    first = (torch.arange(faces) < females).float()[:, None]
    rows = {
        "gender": torch.cat([first, 1 - first], dim=1),
        "skin_tone": torch.tensor([[1.0, 0, 0, 0]]).repeat(faces, 1),
    }
    box = torch.tensor([0.25, 0.25, 0.75, 0.75]) * side
    found = Faces(torch.arange(faces), box.expand(faces, 4), torch.ones(faces), torch.zeros(faces, 5, 2), images)
    measured = DistributionStatistics(target=TARGET, draws=10).measure(
        torch.zeros(images, dtype=torch.long), rows, torch.arange(faces)
    )
    return Observation(found, rows), measured.per_prompt[0]


def drawn(
    monkeypatch: pytest.MonkeyPatch, shown: int = 3, prompt: str = "a chef", faces: Sequence[int] = (20, 19)
) -> tuple[Image.Image, list[str]]:
    """The picture and its texts: 5 of 20 women before, 10 of 19 after, of which the first images are shown."""
    texts: list[str] = []
    write = ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "text",
        lambda self, place, text, *rest: texts.append(text) or write(self, place, text, *rest),
    )
    before, after = seen(min(5, faces[0]), faces[0], 20), seen(min(10, faces[1]), faces[1], 20)
    images = {variant: torch.full((20, 3, 64, 64), grey[0] / 255) for variant, grey in GREYS.items()}
    row = PictureRow(prompt, images, {"original": before[0], "ema": after[0]}).reduced(shown)
    return prompt_picture(row, CLASSES, TITLES, {"original": before[1], "ema": after[1]}), texts


def lefts_and_top(picture: Image.Image, colour: tuple[int, int, int]) -> tuple[list[int], int]:
    """Where tiles of a colour begin."""
    same = (np.asarray(picture) == colour).all(axis=-1)
    top = int(np.flatnonzero(same.sum(axis=1) >= TILE)[0])
    line = np.concatenate([[False], same[top]])
    return [int(left) for left in np.flatnonzero(line[1:] & ~line[:-1])], top


def test_after_stands_below_before_image_by_image(monkeypatch: pytest.MonkeyPatch) -> None:
    picture, _ = drawn(monkeypatch)
    (before, top), (after, below) = (lefts_and_top(picture, grey) for grey in GREYS.values())
    assert before == after
    assert len(before) == 3
    assert below > top + TILE


def test_shares_are_of_all_images_and_not_of_those_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    _, texts = drawn(monkeypatch)
    assert texts[0] == "a chef"
    before, after = texts.index("before"), texts.index("after")
    tones = ["light 100 %", "tan 0 %", "brown 0 %", "dark 0 %"]
    assert texts[before : before + 8] == ["before", "20 faces in 20 images", "female 25 %", "male 75 %", *tones]
    assert texts[after : after + 4] == ["after", "19 faces in 20 images", "female 53 %", "male 47 %"]


def test_every_share_has_the_colour_of_its_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.asarray(drawn(monkeypatch)[0])
    left = lefts_and_top(drawn(monkeypatch)[0], GREYS["original"])[0][0]
    for row, names in enumerate(CLASSES.values()):
        for index in range(len(names)):
            same = (array[:, :left] == class_colour(index, len(names), row)).all(axis=-1)
            assert same.sum() == 2 * 12 * 12  # one square a variant


@pytest.mark.parametrize(("shown", "prompt"), [(1, "word " * 200), (8, "x")])
def test_texts_and_tiles_stay_within_the_margin(shown: int, prompt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.asarray(drawn(monkeypatch, shown=shown, prompt=prompt)[0])
    for border in (array[:, :16], array[:, -16:], array[:8], array[-16:]):
        assert (border == 255).all()


def test_without_faces_there_are_no_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    _, texts = drawn(monkeypatch, faces=(0, 3))
    assert texts[texts.index("before") :][:4] == ["before", "0 faces in 20 images", "female -", "male -"]


def test_a_reduced_row_shows_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images as large as their tiles are drawn as they are, and boxes where they were."""
    whole, _ = drawn(monkeypatch, shown=20)
    before, after = seen(5, 20, 20), seen(10, 19, 20)
    row = PictureRow(
        "a chef",
        {variant: torch.full((20, 3, 64, 64), grey[0] / 255) for variant, grey in GREYS.items()},
        {"original": before[0], "ema": after[0]},
    )
    assert row.reduced(20).images["ema"].shape == (20, 3, TILE, TILE)
    assert replace(row, prompt="x").reduced(2).observations["ema"].faces.boxes[0].tolist() == [28.0, 28.0, 84.0, 84.0]
    unreduced = prompt_picture(row, CLASSES, TITLES, {"original": before[1], "ema": after[1]})
    assert np.array_equal(np.asarray(unreduced), np.asarray(whole))
