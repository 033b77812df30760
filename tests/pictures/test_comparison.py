from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from fairlit.faces import Faces
from fairlit.faces.observation import Observation
from fairlit.pictures.colours import class_colour
from fairlit.pictures.comparison import comparison_picture, picture_tensor
from fairlit.pictures.tiles import PictureRow

CLASSES = {"gender": ("female", "male"), "skin_tone": ("light", "tan", "brown", "dark")}
TILE = 112
GREY = (90, 90, 90)  # of every image, found nowhere else in a picture
EMPTY = (226, 228, 232)


def row(
    labels: list[list[tuple[int, float] | None]], size: tuple[int, int] = (64, 64), prompt: str = "x"
) -> PictureRow:
    """For each variant, the class and certainty of the first attribute in each image; None: no face."""
    images, observations = {}, {}
    for variant, faces in zip(("original", "ema"), labels, strict=False):
        count = len(faces)
        images[variant] = torch.full((count, 3, *size), GREY[0] / 255)
        found = [number for number, face in enumerate(faces) if face is not None]
        box = torch.tensor([0.25 * size[1], 0.25 * size[0], 0.75 * size[1], 0.75 * size[0]])
        probabilities = {name: torch.zeros(len(found), len(names)) for name, names in CLASSES.items()}
        for place, number in enumerate(found):
            label, certainty = faces[number] or (0, 0.0)
            for rows in probabilities.values():
                rows[place] = (1 - certainty) / (rows.shape[1] - 1)
                rows[place, label] = certainty
        total = len(found)
        seen = Faces(
            torch.tensor(found).long(), box.expand(total, 4), torch.ones(total), torch.zeros(total, 5, 2), count
        )
        observations[variant] = Observation(seen, probabilities)
    return PictureRow("x", images, observations)


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(int)


def runs(line: np.ndarray, colour: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Where runs of a colour begin in a line of pixels, and how long they are."""
    same = np.concatenate([[False], (line == colour).all(axis=-1), [False]]).astype(int)
    edges = np.flatnonzero(np.diff(same))
    return [(int(start), int(stop - start)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


def tiles(picture: Image.Image) -> tuple[int, list[int], int]:
    """Top of the first row of images, left edges of its images, height of the images."""
    array = pixels(picture)
    top = next(y for y, line in enumerate(array) if runs(line, GREY))
    lefts = [start for start, _ in runs(array[top], GREY)]
    height = next(length for start, length in runs(array[:, lefts[0]], GREY))
    return top, lefts, height


def test_bars_show_class_and_confidence() -> None:
    faces = [[(0, 0.6), (1, 1.0), None], [(1, 0.75), (0, 0.9), (1, 0.55)]]
    picture = comparison_picture([row(faces)], CLASSES, {"original": "before", "ema": "after"})
    top, lefts, height = tiles(picture)
    assert (len(lefts), height) == (6, TILE)
    array = pixels(picture)
    for attribute, names in enumerate(CLASSES.values()):
        line = array[top + TILE + 2 + 9 * attribute + 3]
        for left, face in zip(lefts, itertools.chain(*faces), strict=True):
            bar = line[left : left + TILE]
            if face is None:
                assert runs(bar, EMPTY) == [(0, TILE)]
                continue
            length = round(face[1] * TILE)
            assert runs(bar, class_colour(face[0], len(names), attribute)) == [(0, length)]
            assert runs(bar, EMPTY) == ([(length, TILE - length)] if length < TILE else [])


def test_strips_show_the_shares_of_the_faces() -> None:
    faces = [[(0, 0.9), (0, 0.8), (1, 0.7), None, (0, 1.0)], [None] * 5]
    picture = comparison_picture([row(faces)], CLASSES, {"original": "before", "ema": "after"})
    top, lefts, _ = tiles(picture)
    width = lefts[4] + TILE - lefts[0]
    line = pixels(picture)[top + TILE + 2 * 9 + 6 + 3]
    strip = line[lefts[0] : lefts[0] + width]
    female = round(0.75 * width)
    assert runs(strip, class_colour(0, 2, 0)) == [(0, female)]
    assert runs(strip, class_colour(1, 2, 0)) == [(female, width - female)]
    assert runs(line[lefts[5] : lefts[5] + width], EMPTY) == [(0, width)]


@pytest.mark.parametrize("size", [(64, 64), (32, 64), (96, 64)])
def test_images_keep_their_shape_and_the_box_its_place(size: tuple[int, int]) -> None:
    picture = comparison_picture([row([[(0, 0.9)], [None]], size)], CLASSES, {"original": "before", "ema": "after"})
    top, lefts, height = tiles(picture)
    assert height == TILE * size[0] // size[1]
    array = pixels(picture)
    boxes = [runs(array[top + height // 2, left : left + TILE], (255, 255, 255)) for left in lefts]
    assert boxes == [[(TILE // 4, 1), (TILE * 3 // 4 - 1, 1)], []]
    column = array[top : top + height, lefts[0] + TILE // 2]
    assert runs(column, (255, 255, 255)) == [(height // 4, 1), (height * 3 // 4 - 1, 1)]


def test_one_image_and_long_texts_still_fit() -> None:
    classes = {"an attribute with quite a long name": ("first class", "second class", "third class", "fourth class")}
    seen = Observation(Faces.empty(1), {name: torch.zeros(0, 4) for name in classes})
    long = PictureRow("word " * 200, {"original": torch.zeros(1, 3, 8, 8)}, {"original": seen})
    picture = comparison_picture([long], classes, {"original": "a heading that is wider than one image"})
    array = pixels(picture)
    margin = 18
    for border in (array[:, :margin], array[:, -margin + 2 :], array[:8], array[-margin:]):
        assert (border == 255).all()


def test_legend_shows_every_class_in_its_colour() -> None:
    picture = comparison_picture([row([[None], [None]])], CLASSES, {"original": "before", "ema": "after"})
    array = pixels(picture)
    for attribute, names in enumerate(CLASSES.values()):
        places = []
        for index in range(len(names)):
            ys, xs = np.nonzero((array == class_colour(index, len(names), attribute)).all(axis=-1))
            assert len(xs) == 12 * 12
            assert (np.ptp(xs), np.ptp(ys)) == (11, 11)
            places.append((int(xs.min()), int(ys.min())))
        assert places == sorted(places)
        assert len({y for _, y in places}) == 1


@pytest.mark.parametrize("count", [2, 4, 7])
def test_colours_differ_within_and_between_attributes_also_in_grey(count: int) -> None:
    colours = [[class_colour(index, count, attribute) for index in range(count)] for attribute in range(4)]
    assert len({colour for ramp in colours for colour in ramp}) == 4 * count
    for ramp in colours:
        luminance = [0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in ramp]
        steps = -np.diff(luminance)
        assert (steps > 60 / count).all()  # each class is visibly darker than the one before


def test_rows_stand_below_each_other_and_the_tensor_is_the_picture() -> None:
    titles = {"original": "before", "ema": "after"}
    one = comparison_picture([row([[None] * 2] * 2)], CLASSES, titles)
    three = comparison_picture([row([[None] * 2] * 2)] * 3, CLASSES, titles)
    assert one.width == three.width
    top, lefts, _ = tiles(three)
    found = runs(pixels(three)[:, lefts[0]], GREY)
    assert [length for _, length in found] == [TILE] * 3
    assert (three.height - one.height) == 2 * (found[1][0] - found[0][0])
    tensor = picture_tensor(three)
    assert tensor.dtype == torch.uint8
    assert tuple(tensor.shape) == (3, three.height, three.width)
    assert tuple(tensor[:, top, lefts[0]].tolist()) == GREY
