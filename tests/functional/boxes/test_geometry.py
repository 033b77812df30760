from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import grid_sample
from torchvision.ops import box_iou as torchvision_box_iou

from fairlit.functional.boxes import geometry

TEMPLATE = torch.tensor([[10.0, 12.0], [22.0, 12.0], [16.0, 18.0], [11.0, 24.0], [21.0, 24.0]], dtype=torch.float64)


@st.composite
def boxes(draw: st.DrawFn, low: float = -40, high: float = 80) -> Tensor:
    """Up to five boxes, also of zero size and outside a 32 x 24 image."""
    number = st.integers(int(low), int(high)).map(float)
    rows = draw(st.lists(st.tuples(number, number, number, number), max_size=5))
    ordered = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in rows]
    return torch.tensor(ordered, dtype=torch.float64).reshape(-1, 4)


@settings(max_examples=60, deadline=None)
@given(boxes(), boxes())
def test_iou_is_that_of_torchvision(first: Tensor, second: Tensor) -> None:
    expected = torch.nan_to_num(torchvision_box_iou(first, second), nan=0.0)
    assert torch.allclose(geometry.box_iou(first, second), expected, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(boxes(), boxes())
def test_an_intersection_has_the_pixels_that_both_have(first: Tensor, second: Tensor) -> None:
    n = min(len(first), len(second))
    overlap = geometry.intersect_boxes(first[:n], second[:n])
    both = geometry.boxes_to_mask(first[:n], 24, 32) & geometry.boxes_to_mask(second[:n], 24, 32)
    assert torch.equal(geometry.boxes_to_mask(overlap, 24, 32), both)
    assert bool((overlap[:, 2:] >= overlap[:, :2]).all())


@settings(max_examples=60, deadline=None)
@given(boxes())
def test_clipping_keeps_the_pixels_and_stays_inside(some: Tensor) -> None:
    clipped = geometry.clip_boxes(some, height=24, width=32)
    assert torch.equal(geometry.boxes_to_mask(clipped, 24, 32), geometry.boxes_to_mask(some, 24, 32))
    assert bool((clipped >= 0).all())
    assert bool((clipped <= torch.tensor([32, 24, 32, 24])).all())
    area = (clipped[:, 2:] - clipped[:, :2]).prod(1)
    assert torch.equal(geometry.boxes_to_mask(some, 24, 32).sum((1, 2)).double(), area)  # whole-number corners


@settings(max_examples=40, deadline=None)
@given(boxes(), st.floats(0, 4))
def test_expanding_keeps_centre_and_scales_sides(some: Tensor, factor: float) -> None:
    grown = geometry.expand_boxes(some, factor)
    assert torch.allclose(grown[:, :2] + grown[:, 2:], some[:, :2] + some[:, 2:], atol=1e-9)
    assert torch.allclose(grown[:, 2:] - grown[:, :2], factor * (some[:, 2:] - some[:, :2]), atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(boxes())
def test_squares_keep_centre_and_longer_side(some: Tensor) -> None:
    squares = geometry.square_boxes(some)
    sides = squares[:, 2:] - squares[:, :2]
    longer = torch.maximum(some[:, 2] - some[:, 0], some[:, 3] - some[:, 1])
    assert torch.allclose(squares[:, :2] + squares[:, 2:], some[:, :2] + some[:, 2:], atol=1e-9)
    assert torch.allclose(sides, longer[:, None].expand(-1, 2), atol=1e-9)


def test_masks_at_borders() -> None:
    some = torch.tensor([[31.0, 23.0, 32.0, 24.0], [0.0, 0.0, 0.0, 24.0], [-9.0, -9.0, 99.0, 99.0], [40, 1, 50, 2]])
    masks = geometry.boxes_to_mask(some, height=24, width=32)
    assert masks.sum((1, 2)).tolist() == [1, 0, 24 * 32, 0]
    assert bool(masks[0, 23, 31])
    assert geometry.boxes_to_mask(torch.zeros(0, 4), 24, 32).shape == (0, 24, 32)


@settings(max_examples=60, deadline=None)
@given(st.floats(-3, 3), st.floats(0.1, 10), st.floats(-50, 50), st.floats(-50, 50))
def test_similarity_is_recovered_and_inverted(angle: float, scale: float, right: float, down: float) -> None:
    turn = scale * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]).double()
    source = (TEMPLATE @ turn.T + torch.tensor([right, down], dtype=torch.float64))[None]
    transform = geometry.similarity_transform(source, TEMPLATE)
    moved = source @ transform[:, :, :2].transpose(1, 2) + transform[:, None, :, 2]
    assert torch.allclose(moved[0], TEMPLATE, atol=1e-8)
    inverse = geometry.invert_similarity(transform)
    assert torch.allclose(inverse[0, :, :2], turn, atol=1e-8)
    assert torch.allclose(inverse[0, :, 2], torch.tensor([right, down], dtype=torch.float64), atol=1e-7)


def test_similarity_is_umeyamas_least_squares_optimum_under_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    source = 40 * torch.rand(6, 5, 2, generator=generator, dtype=torch.float64)
    transforms = geometry.similarity_transform(source, TEMPLATE)
    for points, transform in zip(source, transforms, strict=True):
        assert torch.allclose(transform, _umeyama(points, TEMPLATE), atol=1e-9)


def _umeyama(source: Tensor, target: Tensor) -> Tensor:
    """Umeyama 1991, equations 38 to 43, by singular values."""
    from_centre, to_centre = source.mean(0), target.mean(0)
    a, b = source - from_centre, target - to_centre
    u, d, vt = torch.linalg.svd(b.T @ a / len(a))
    sign = torch.tensor([1.0, 1.0 if torch.det(u) * torch.det(vt) > 0 else -1.0], dtype=torch.float64)
    scale = (d * sign).sum() / a.square().sum(1).mean()
    linear = scale * u @ torch.diag(sign) @ vt
    return torch.cat([linear, (to_centre - linear @ from_centre)[:, None]], dim=1)


def test_mixed_precision_moves_no_pixel() -> None:
    """Half precision knows pixels of a 512-pixel image to about two: alignment must not be computed in it."""
    landmarks = 300 + 100 * torch.rand(3, 5, 2, generator=torch.Generator().manual_seed(0))
    expected = geometry.aligned_grid(geometry.similarity_transform(landmarks, TEMPLATE.float()), 32, 512, width=512)
    with torch.autocast("cpu", torch.bfloat16):
        found = geometry.aligned_grid(geometry.similarity_transform(landmarks, TEMPLATE.float()), 32, 512, width=512)
    assert torch.equal(found, expected)


def test_coinciding_landmarks_give_finite_numbers_and_gradients() -> None:
    source = torch.full((1, 5, 2), 7.0, dtype=torch.float64, requires_grad=True)
    transform = geometry.similarity_transform(source, TEMPLATE)
    assert torch.allclose(transform[0, :, 2], TEMPLATE.mean(0))
    assert float(transform[0, :, :2].detach().abs().max()) == 0.0
    grid = geometry.aligned_grid(transform, 4, 24, width=32)
    grid.sum().backward()
    assert bool(grid.isfinite().all())
    assert bool(source.grad.isfinite().all())


def test_a_crop_of_whole_pixels_is_a_slice() -> None:
    image = torch.rand(1, 3, 24, 32, dtype=torch.float64)
    grid = geometry.crop_grid(torch.tensor([[5.0, 3.0, 13.0, 11.0]], dtype=torch.float64), 8, 24, width=32)
    crop = grid_sample(image, grid, align_corners=False)
    assert torch.allclose(crop, image[:, :, 3:11, 5:13], atol=1e-12)


def test_an_upright_alignment_is_a_slice() -> None:
    image = torch.rand(1, 3, 40, 48, dtype=torch.float64)
    landmarks = (TEMPLATE + torch.tensor([9.0, 4.0], dtype=torch.float64))[None]
    grid = geometry.aligned_grid(geometry.similarity_transform(landmarks, TEMPLATE), 32, 40, width=48)
    assert torch.allclose(grid_sample(image, grid, align_corners=False), image[:, :, 4:36, 9:41], atol=1e-9)


@pytest.mark.parametrize("box", [[31.0, 23.0, 32.0, 24.0], [5.0, 5.0, 5.0, 9.0], [90.0, 90.0, 99.0, 99.0]])
def test_degenerate_crops_are_finite_and_differentiable(box: list[float]) -> None:
    image = torch.rand(1, 3, 24, 32, dtype=torch.float64, requires_grad=True)
    crop = grid_sample(image, geometry.crop_grid(torch.tensor([box]).double(), 6, 24, width=32), align_corners=False)
    crop.sum().backward()
    assert crop.shape == (1, 3, 6, 6)
    assert bool(crop.isfinite().all())
    assert bool(image.grad.isfinite().all())


def test_no_faces_are_an_ordinary_event() -> None:
    none = torch.zeros(0, 4)
    assert geometry.crop_grid(none, 6, 24, width=32).shape == (0, 6, 6, 2)
    assert geometry.box_iou(none, torch.zeros(3, 4)).shape == (0, 3)
    transform = geometry.similarity_transform(torch.zeros(0, 5, 2), TEMPLATE.float())
    assert transform.shape == (0, 2, 3)
    assert geometry.aligned_grid(transform, 6, 24, width=32).shape == (0, 6, 6, 2)


def test_grids_have_the_gradient_of_finite_differences() -> None:
    box = torch.tensor([[3.0, 2.0, 17.0, 12.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda b: geometry.crop_grid(geometry.square_boxes(b), 3, 24, width=32), box)
    points = (TEMPLATE[None] + torch.rand(1, 5, 2, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda p: geometry.aligned_grid(geometry.similarity_transform(p, TEMPLATE), 3, 24, width=32), points
    )
