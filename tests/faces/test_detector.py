from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from facenet_pytorch.models.utils.detect_face import detect_face
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import interpolate

from fairlit.errors import ConfigurationError
from fairlit.faces import FaceDetector, Faces


def by_facenet(images: Tensor, detector: FaceDetector) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """facenet-pytorch's own cascade on the same networks; boxes cut at the border, then sorted by area."""
    limit = [images.shape[3], images.shape[2]] * 2
    with torch.no_grad():
        boxes, points = detect_face(
            (images * 255).permute(0, 2, 3, 1),
            detector.settings.min_size,
            detector.pnet,
            detector.rnet,
            detector.onet,
            list(detector.thresholds),
            0.709,
            "cpu",
        )
    found, landmarks = [], []
    for rows, marks in zip(boxes, points, strict=True):
        rows, marks = np.array(rows, dtype=float).reshape(-1, 5), np.array(marks, dtype=float).reshape(-1, 5, 2)
        rows[:, :4] = np.clip(rows[:, :4], 0, limit)
        area = (rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1])
        order = np.argsort(-area, kind="stable")
        found.append(rows[order])
        landmarks.append(marks[order])
    return found, landmarks


def check_equal(faces: Faces, boxes: list[np.ndarray], landmarks: list[np.ndarray]) -> None:
    for index, (rows, marks) in enumerate(zip(boxes, landmarks, strict=True)):
        mine = faces.select(faces.image_index == index)
        assert len(mine) == len(rows)
        np.testing.assert_allclose(mine.boxes.numpy(), rows[:, :4], atol=1e-2)
        np.testing.assert_allclose(mine.landmarks.numpy(), marks, atol=1e-2)
        np.testing.assert_allclose(mine.scores.numpy(), rows[:, 4], atol=1e-4)


def test_finds_what_facenet_finds(portraits: Tensor) -> None:
    detector = FaceDetector(faces="all")
    faces = detector(portraits)
    assert len(faces) >= 4
    check_equal(faces, *by_facenet(portraits, detector))


def test_finds_what_facenet_finds_where_there_are_many(photograph: Tensor) -> None:
    face = interpolate(photograph[:, :, 30:330, 100:400], size=(70, 70), mode="bilinear", antialias=True)
    sheet = face.repeat(1, 1, 2, 3)
    sheet = (sheet + 0.03 * torch.randn(sheet.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)  # no ties
    detector = FaceDetector(faces="all")
    faces = detector(sheet)
    assert len(faces) >= 4
    check_equal(faces, *by_facenet(sheet, detector))


def test_low_thresholds_give_many_overlapping_candidates_and_still_agree(portraits: Tensor) -> None:
    detector = FaceDetector(faces="all", thresholds=(0.4, 0.1, 0.01))
    pictures = portraits[[0, 1, 3, 4]]
    faces = detector(pictures)
    assert len(faces) >= 8
    check_equal(faces, *by_facenet(pictures, detector))


def test_face_is_where_it_is_in_the_photograph(photograph: Tensor) -> None:
    faces = FaceDetector()(photograph)
    x1, y1, x2, y2 = faces.boxes[0].tolist()
    assert 150 < x1 < 230
    assert 60 < y1 < 140
    assert 320 < x2 < 400
    assert 250 < y2 < 370
    left_eye, right_eye, nose, left_mouth, right_mouth = faces.landmarks[0].tolist()
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_chunks_do_not_matter(portraits: Tensor) -> None:
    whole, parts = FaceDetector(faces="all")(portraits), FaceDetector(faces="all", batch_size=2)(portraits)
    assert torch.equal(whole.image_index, parts.image_index)
    torch.testing.assert_close(whole.boxes, parts.boxes, atol=1e-3, rtol=0)
    assert whole.num_images == parts.num_images == 5


def test_enlarged_images_give_boxes_in_pixels_of_the_original(portraits: Tensor) -> None:
    enlarged = FaceDetector(scale=2.0)(portraits)
    big = interpolate(portraits, scale_factor=2, mode="bilinear", align_corners=False)
    reference = FaceDetector()(big)
    torch.testing.assert_close(enlarged.boxes * 2, reference.boxes, atol=1e-3, rtol=0)
    torch.testing.assert_close(enlarged.landmarks * 2, reference.landmarks, atol=1e-3, rtol=0)


@pytest.mark.parametrize("shape", [(0, 3, 64, 64), (2, 3, 8, 8), (3, 3, 64, 64), (1, 3, 30, 200)])
def test_no_face_anywhere_is_ordinary(shape: tuple[int, ...]) -> None:
    faces = FaceDetector(scale=1.0)(torch.full(shape, 0.5))
    assert len(faces) == 0
    assert len(faces.largest()) == 0
    assert faces.boxes.shape == (0, 4)
    assert faces.landmarks.shape == (0, 5, 2)
    assert faces.has_face.tolist() == [False] * shape[0]


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_nothing_passing_a_stage_is_ordinary(stage: int, portraits: Tensor) -> None:
    thresholds = tuple(1.0 if index == stage else 0.1 for index in range(3))
    assert len(FaceDetector(thresholds=thresholds)(portraits)) == 0  # type: ignore[arg-type]


def test_noise_never_makes_it_fail() -> None:
    generator = torch.Generator().manual_seed(1)
    detector = FaceDetector(faces="all", thresholds=(0.01, 0.01, 0.0))
    faces = detector(torch.rand(3, 3, 48, 40, generator=generator))
    low, high = faces.boxes[:, :2], faces.boxes[:, 2:]
    assert bool((low >= 0).all())
    assert bool((high <= torch.tensor([40, 48])).all())
    assert bool((high > low).all())


def test_nothing_in_it_trains(portraits: Tensor) -> None:
    detector = FaceDetector()
    detector.train()
    assert not detector.training
    assert not any(module.training for module in detector.modules())
    assert not any(parameter.requires_grad for parameter in detector.parameters())
    images = portraits.clone().requires_grad_()
    assert not detector(images).boxes.requires_grad


def test_autocast_does_not_change_what_is_found(portraits: Tensor) -> None:
    detector = FaceDetector()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = detector(portraits)
    assert torch.equal(inside.boxes, detector(portraits).boxes)


def test_min_score_drops_faces(portraits: Tensor) -> None:
    faces = FaceDetector(faces="all")(portraits)
    threshold = float(faces.scores.median())
    kept = FaceDetector(faces="all", min_score=threshold)(portraits)
    assert len(kept) == int((faces.scores >= threshold).sum()) < len(faces)


def test_bad_arguments_are_all_named() -> None:
    with pytest.raises(ConfigurationError) as caught:
        FaceDetector(min_size=3, scale=0, thresholds=(0.5, 2.0, 0.1), faces="best", min_score=-1, batch_size=0)  # type: ignore[arg-type]
    for name in ("min_size", "scale", "thresholds", "faces", "min_score", "batch_size"):
        assert name in str(caught.value)


def faces_at(image_index: list[int], sides: list[float], num_images: int) -> Faces:
    side = torch.tensor(sides)
    boxes = torch.stack([torch.zeros_like(side), torch.zeros_like(side), side, side], dim=1)
    return Faces(torch.tensor(image_index).long(), boxes, side, torch.zeros(len(sides), 5, 2), num_images)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 30)), max_size=12))
def test_largest_keeps_the_largest_of_each_image(rows: list[tuple[int, int]]) -> None:
    faces = faces_at([image for image, _ in rows], [float(side) for _, side in rows], 5)
    expected = {image: max(side for other, side in rows if other == image) for image, _ in rows}
    largest = faces.largest()
    assert dict(zip(largest.image_index.tolist(), largest.scores.tolist(), strict=True)) == expected
    assert faces.has_face.tolist() == [image in expected for image in range(5)]
    assert largest.image_index.tolist() == sorted(expected)


def test_parts_and_concatenation_are_inverse() -> None:
    faces = faces_at([0, 0, 2, 3], [5.0, 4.0, 3.0, 2.0], 5)
    parts = [faces.images(0, 2), faces.images(2, 3), faces.images(3, 5)]
    assert [part.image_index.tolist() for part in parts] == [[0, 0], [0], [0]]
    again = Faces.concatenate(parts)
    for field in dataclasses.fields(Faces):
        one, other = getattr(faces, field.name), getattr(again, field.name)
        assert torch.equal(one, other) if isinstance(one, Tensor) else one == other
    assert faces.counts.tolist() == [2, 0, 1, 1, 0]


def test_an_image_of_nan_has_no_face_and_hides_none(portraits: Tensor) -> None:
    """What a decoder gives that overflows in half precision."""
    spoiled = torch.cat([torch.full_like(portraits[:1], torch.nan), portraits])
    found, expected = FaceDetector()(spoiled), FaceDetector()(portraits)
    assert len(expected.boxes) > 0
    assert torch.equal(found.image_index, expected.image_index + 1)
    torch.testing.assert_close(found.boxes, expected.boxes)
