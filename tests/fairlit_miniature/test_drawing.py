from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from fairlit.faces.detector import FaceDetector
from fairlit_miniature.canvas import SIZE, Canvas
from fairlit_miniature.drawing import LANDSCAPE, apply_context, draw_scene
from fairlit_miniature.heads import SKIN
from fairlit_miniature.occupations import OCCUPATIONS
from fairlit_miniature.world import ATTRIBUTES, CONTEXTS, Scene, balanced_scene, sample_scene


def portrait(seed: int, labels: dict[str, str], job: int = 0) -> Scene:
    return Scene("occupations", OCCUPATIONS[job], (labels,), {}, "", "", seed)


def test_same_scene_gives_same_pixels() -> None:
    scene = sample_scene(0, 5)
    first, second = draw_scene(scene), draw_scene(scene)
    assert first.pixels.dtype == np.uint8
    assert first.pixels.shape == (SIZE, SIZE, 3)
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert (draw_scene(sample_scene(0, 6)).pixels != first.pixels).any()


def test_boxes_are_inside_and_hold_a_face_of_the_right_skin_tone() -> None:
    hits = []
    for index in range(120):
        scene = sample_scene(4, index)
        drawing = draw_scene(scene)
        assert drawing.boxes.shape == (len(scene.people), 4)
        assert (drawing.boxes >= -1).all()
        assert (drawing.boxes <= SIZE + 1).all()
        if len(scene.people) == 1 and not scene.context:
            left, top, _, bottom = drawing.boxes[0].astype(int)
            cheek = drawing.pixels[(top + bottom) // 2 : bottom - 8, left + 5 : left + 8].mean(axis=(0, 1))
            distances = {tone: np.abs(cheek - color).sum() for tone, color in SKIN.items()}
            hits.append(min(distances, key=lambda tone: distances[tone]) == scene.people[0]["skin_tone"])
    assert np.mean(hits) > 0.85  # beards cover some cheeks


def test_landscapes_show_everybody_as_large_as_a_single_person() -> None:
    widths: dict[int, list[float]] = {1: [], 2: [], 3: []}
    for index in range(120):
        scene = sample_scene(4, index, (0.4, 0.0, 0.0, 0.0, 0.6))
        drawing = draw_scene(scene, LANDSCAPE)
        assert drawing.pixels.shape == (SIZE, LANDSCAPE, 3)
        assert (drawing.boxes >= -1).all()
        assert (drawing.boxes[:, 2] <= LANDSCAPE + 1).all()
        left_to_right = drawing.boxes[drawing.boxes[:, 0].argsort()]
        assert (left_to_right[1:, 0] > left_to_right[:-1, 2] - 2).all()  # side by side
        widths[len(drawing.boxes)] += (drawing.boxes[:, 2] - drawing.boxes[:, 0]).tolist()
    means = [np.mean(widths[people]) for people in (1, 2, 3)]
    assert max(means) < 1.05 * min(means)


def test_the_backdrop_of_a_landscape_is_mirrored_at_the_sides() -> None:
    canvas = Canvas(LANDSCAPE)
    canvas.place((16.0, 0.0), 1.0)
    canvas.box(0, 0, 5, SIZE, (255, 0, 0))
    canvas.box(59, 0, SIZE, SIZE, (0, 255, 0))
    canvas.mirror_margins()
    row = canvas.pixels()[10]
    np.testing.assert_array_equal(row[:32], row[:32][::-1])  # about the left side of the square, at 16
    np.testing.assert_array_equal(row[64:], row[64:][::-1])
    assert row[11:21, 0].tolist() == [1.0] * 10
    assert row[75:85, 1].tolist() == [1.0] * 10


@pytest.mark.parametrize("attribute", list(ATTRIBUTES))
def test_every_attribute_is_visible(attribute: str) -> None:
    """Mean faces of two classes differ by more than chance where nothing else does."""
    base = {"gender": "male", "skin_tone": "tan", "age": "young"}
    means = []
    for label in ATTRIBUTES[attribute]:
        pictures = [draw_scene(portrait(seed, {**base, attribute: label})).pixels.astype(float) for seed in range(12)]
        means.append(np.mean(pictures, axis=0))
    for first, second in itertools.combinations(means, 2):
        assert np.abs(first - second)[8:50, 16:48].mean() > 6.0


def test_skin_tones_are_separate_bands() -> None:
    brightness = [sum(SKIN[tone]) for tone in ATTRIBUTES["skin_tone"]]
    assert all(a - b > 100 for a, b in itertools.pairwise(brightness))


def test_contexts_change_the_whole_picture() -> None:
    pixels = draw_scene(portrait(0, {"gender": "male", "skin_tone": "tan", "age": "young"})).pixels / np.float32(255)
    for context in CONTEXTS:
        changed = apply_context(pixels, context, np.random.default_rng(0))
        assert changed.shape == pixels.shape
        assert np.abs(changed - pixels).mean() > 0.02, context
    np.testing.assert_array_equal(apply_context(pixels, "", np.random.default_rng(0)), pixels)


def test_mtcnn_finds_the_drawn_faces() -> None:
    scenes = [balanced_scene(0, index) for index in range(72)]
    pictures = np.stack([draw_scene(scene).pixels for scene in scenes])
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255.0
    faces = FaceDetector(min_size=20, scale=2.0, faces="largest")(images)
    assert faces.has_face.float().mean() >= 0.9
    centers = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
    drawn = torch.stack([torch.from_numpy(draw_scene(scenes[int(i)]).boxes[0]) for i in faces.image_index])
    assert ((centers >= drawn[:, :2]) & (centers <= drawn[:, 2:])).all(dim=1).float().mean() > 0.95
