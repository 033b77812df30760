from __future__ import annotations

import math

import pytest
import torch
from PIL import Image
from torch import Tensor

from fairlit.faces import Faces, align_faces, crop_faces
from fairlit.faces.crops import FIVE_POINT_TEMPLATE


def faces_of(
    boxes: list[list[float]], image_index: list[int], num_images: int, landmarks: Tensor | None = None
) -> Faces:
    count = len(boxes)
    points = torch.zeros(count, 5, 2) if landmarks is None else landmarks
    return Faces(
        torch.tensor(image_index).long(), torch.tensor(boxes).reshape(count, 4), torch.ones(count), points, num_images
    )


def coordinates(height: int, width: int) -> Tensor:
    """Images [1, 3, H, W] whose channels are x, y and 1 of every pixel centre: a crop shows where it sampled."""
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([columns, rows, torch.ones_like(rows)])[None]


def test_crop_at_whole_pixels_is_a_slice() -> None:
    images = torch.rand(3, 3, 20, 30)
    crops = crop_faces(images, faces_of([[4.0, 2.0, 12.0, 10.0], [20.0, 8.0, 28.0, 16.0]], [2, 0], 3), 8)
    torch.testing.assert_close(crops, torch.stack([images[2, :, 2:10, 4:12], images[0, :, 8:16, 20:28]]))


def test_shrinking_by_a_whole_factor_averages_every_pixel() -> None:
    images = torch.rand(1, 3, 40, 40, dtype=torch.float64)
    crops = crop_faces(images, faces_of([[4.0, 8.0, 28.0, 32.0]], [0], 1), 8)
    expected = images[0, :, 8:32, 4:28].unflatten(1, (8, 3)).unflatten(3, (8, 3)).mean(dim=(2, 4))
    torch.testing.assert_close(crops[0], expected)


@pytest.mark.parametrize("factor", [1.3, 2.5, 4.7])
def test_shrinking_has_little_aliasing(factor: float) -> None:
    """A fine checkerboard must come out near its mean, as PIL's box filter shows it."""
    size, side = 16, round(16 * factor)
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    board = ((rows + columns) % 2).float()
    crop = crop_faces(board.expand(1, 3, -1, -1), faces_of([[0.0, 0.0, side, side]], [0], 1), size)[0, 0]
    picture = Image.fromarray((board * 255).byte().numpy()).resize((size, size), Image.Resampling.BOX)
    reference = torch.tensor(list(picture.get_flattened_data()), dtype=torch.float32).reshape(size, size) / 255
    assert crop.std() <= max(float(reference.std()), 0.02) + 1e-6
    assert abs(float(crop.mean()) - 0.5) < 0.02


def test_margin_is_added_on_each_side_and_the_longer_side_counts() -> None:
    crops = crop_faces(coordinates(100, 100), faces_of([[40.0, 30.0, 60.0, 70.0]], [0], 1), 10, margin=0.25)
    side = 40 * 1.5
    first = 50 - side / 2 + side / 20
    assert crops[0, 0, 0, 0].item() == pytest.approx(first, abs=1e-3)
    assert crops[0, 1, 0, 0].item() == pytest.approx(first, abs=1e-3)


def test_beyond_the_image_the_border_is_repeated() -> None:
    crops = crop_faces(coordinates(20, 20), faces_of([[-10.0, 0.0, 10.0, 20.0]], [0], 1), 20)
    assert bool((crops[0, 0, :, :10] == 0.5).all())


@pytest.mark.parametrize(("angle", "scale"), [(0.0, 1.0), (0.4, 0.5), (-0.8, 0.3)])
def test_alignment_brings_landmarks_onto_the_template(angle: float, scale: float) -> None:
    size = 32
    template = torch.tensor(FIVE_POINT_TEMPLATE) * size
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    landmarks = ((template - size / 2) / scale) @ turn.T + torch.tensor([70.0, 60.0])
    faces = faces_of([[0.0, 0.0, 1.0, 1.0]], [0], 1, landmarks[None])
    crop = align_faces(coordinates(128, 140), faces, size)[0]
    for target, landmark in zip(template, landmarks, strict=True):
        row, column = int(target[1]), int(target[0])
        offset = torch.tensor([column + 0.5, row + 0.5]) - target
        expected = landmark + (turn @ offset) / scale
        torch.testing.assert_close(crop[:2, row, column], expected, atol=1e-2, rtol=0)


def test_alignment_margin_shrinks_the_face_about_the_centre() -> None:
    size = 40
    landmarks = torch.tensor(FIVE_POINT_TEMPLATE)[None] * size
    faces = faces_of([[0.0, 0.0, 1.0, 1.0]], [0], 1, landmarks)
    images = torch.rand(1, 3, size, size)
    torch.testing.assert_close(align_faces(images, faces, size), images, atol=1e-4, rtol=0)
    wide = align_faces(coordinates(size, size), faces, size, margin=0.25)
    # One pixel of the crop is 1.5 pixels of the image, counted from the centre.
    assert wide[0, 0, 20, 25].item() == pytest.approx(20 + 5.5 * 1.5, abs=1e-3)


def test_a_crop_does_not_depend_on_the_rest_of_the_batch() -> None:
    images = torch.rand(2, 3, 64, 64)
    faces = faces_of([[0.0, 0.0, 60.0, 60.0], [10.0, 10.0, 26.0, 26.0], [5.0, 5.0, 45.0, 45.0]], [0, 0, 1], 2)
    together = crop_faces(images, faces, 16)
    for index in range(3):
        assert torch.equal(together[index], crop_faces(images, faces.select(torch.tensor([index])), 16)[0])


def test_gradient_stays_in_the_box_of_the_face_and_in_its_image() -> None:
    images = torch.rand(3, 3, 48, 48, requires_grad=True)
    faces = faces_of([[10.0, 12.0, 30.0, 32.0], [2.0, 2.0, 46.0, 46.0]], [1, 2], 3)
    (gradient,) = torch.autograd.grad(crop_faces(images, faces, 16)[0].square().sum(), images)
    inside = torch.zeros(48, 48, dtype=torch.bool)
    inside[11:33, 9:31] = True  # bilinear sampling reaches half a pixel further
    assert bool((gradient[1][:, ~inside] == 0).all())
    assert bool((gradient[1][:, 14:30, 12:28] != 0).all())
    assert bool((gradient[[0, 2]] == 0).all())


def test_gradcheck() -> None:
    images = torch.rand(2, 2, 6, 6, dtype=torch.float64, requires_grad=True)  # every pixel costs four evaluations
    landmarks = torch.tensor(FIVE_POINT_TEMPLATE)[None] * torch.tensor([[[4.5]], [[10.0]]]) - 0.5
    faces = faces_of([[0.5, 1.0, 3.75, 4.5], [-1.0, 0.0, 6.0, 6.25]], [1, 0], 2, landmarks)
    assert torch.autograd.gradcheck(lambda pictures: crop_faces(pictures, faces, 5, margin=0.1), (images,))
    assert torch.autograd.gradcheck(lambda pictures: align_faces(pictures, faces, 5), (images,))


def test_without_faces_the_crops_are_empty_and_still_in_the_graph() -> None:
    images = torch.rand(2, 3, 12, 12, requires_grad=True)
    for crop in (crop_faces, align_faces):
        crops = crop(images, Faces.empty(2), 8)
        assert crops.shape == (0, 3, 8, 8)
        (gradient,) = torch.autograd.grad(crops.sum(), images)
        assert bool((gradient == 0).all())


def test_half_precision_images_are_sampled_in_float32() -> None:
    images = torch.rand(1, 3, 20, 20)
    faces = faces_of([[3.0, 3.0, 17.0, 17.0]], [0], 1)
    crops = crop_faces(images.bfloat16(), faces, 8)
    assert crops.dtype == torch.float32
    torch.testing.assert_close(crops, crop_faces(images.bfloat16().float(), faces, 8))
