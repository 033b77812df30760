"""Regions of faces: whose pixel is whose, borders, points, and seams."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from fairlit.functional.boxes.face_regions import face_regions, fade_at_window, set_in

HEIGHT, WIDTH = 20, 30
side = st.floats(-5, 35, allow_nan=False)


@st.composite
def boxes(draw: st.DrawFn) -> torch.Tensor:
    rows = draw(st.lists(st.tuples(side, side, st.floats(0, 15), st.floats(0, 15)), min_size=1, max_size=4))
    return torch.tensor([[x, y, x + w, y + h] for x, y, w, h in rows], dtype=torch.float64)


@given(boxes(), st.floats(1, 3), st.floats(0.05, 1))
def test_no_pixel_belongs_to_two_faces(faces: torch.Tensor, grow: float, feather: float) -> None:
    masks = face_regions(faces, HEIGHT, WIDTH, grow=grow, feather=feather)
    assert masks.shape == (len(faces), HEIGHT, WIDTH)
    assert bool(((masks >= 0) & (masks <= 1)).all())
    assert int((masks > 0).sum(dim=0).max()) <= 1


@given(boxes(), st.floats(1, 3))
def test_nothing_outside_the_grown_box(faces: torch.Tensor, grow: float) -> None:
    masks = face_regions(faces, HEIGHT, WIDTH, grow=grow)
    for (x1, y1, x2, y2), mask in zip(faces.tolist(), masks, strict=True):
        rows, columns = mask.nonzero(as_tuple=True)
        for x, y in zip((columns + 0.5).tolist(), (rows + 0.5).tolist(), strict=True):
            assert abs(x - (x1 + x2) / 2) <= grow * max((x2 - x1) / 2, 0.5)
            assert abs(y - (y1 + y2) / 2) <= grow * max((y2 - y1) / 2, 0.5)


def test_overlapping_faces_share_out_what_both_cover() -> None:
    faces = torch.tensor([[2.0, 2.0, 14.0, 18.0], [10.0, 2.0, 22.0, 18.0]])
    first, second = face_regions(faces, HEIGHT, WIDTH, feather=0.1) > 0
    assert torch.equal(first[:, :24], second[:, :24].flip(1))  # they are mirror images about x = 12
    assert not first[:, 12:].any()
    assert first[10, 3:11].all()


def test_a_small_face_within_a_large_box_keeps_its_own() -> None:
    faces = torch.tensor([[0.0, 0.0, 30.0, 20.0], [20.0, 4.0, 24.0, 8.0]])
    large, small = face_regions(faces, HEIGHT, WIDTH, feather=0.1) > 0
    assert small[5:7, 21:23].all()
    assert not large[5:7, 21:23].any()
    assert large[15, 5]


def test_a_face_at_the_border_is_whole_there() -> None:
    mask = face_regions(torch.tensor([[-4.0, 5.0, 6.0, 15.0]]), HEIGHT, WIDTH, grow=1.5, feather=0.5)[0]
    assert mask[10, 0] == 1  # the border of the image is no seam
    assert 0 < mask[10, 6] < 1
    assert mask[10, 12] == 0


def test_a_point_has_a_region_of_a_pixel() -> None:
    mask = face_regions(torch.tensor([[7.5, 3.5, 7.5, 3.5]]), HEIGHT, WIDTH, grow=1.0, feather=0.5)[0]
    assert mask.nonzero().tolist() == [[3, 7]]


def test_outside_the_mask_every_number_stays() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(256, (3, HEIGHT, WIDTH), generator=generator, dtype=torch.uint8)
    mask = face_regions(torch.tensor([[8.0, 5.0, 16.0, 15.0]]), HEIGHT, WIDTH)[0]
    result = set_in(image, torch.rand(3, HEIGHT, WIDTH, generator=generator), mask)
    assert torch.equal(result[:, mask == 0], image[:, mask == 0])
    assert bool((result[:, mask == 1] != image[:, mask == 1]).any())
    assert torch.equal(set_in(image, torch.rand(3, HEIGHT, WIDTH), torch.zeros(HEIGHT, WIDTH)), image)


def test_the_seam_shows_no_difference_of_light_and_the_middle_keeps_its_colour() -> None:
    image = torch.full((3, 40, 40), 100, dtype=torch.uint8)
    edited = torch.full((3, 40, 40), 100 / 255)
    mask = face_regions(torch.tensor([[12.0, 12.0, 28.0, 28.0]]), 40, 40, grow=1.8, feather=0.6)[0]
    edited[:, mask > 0] += 0.2  # the whole region is lighter
    result = set_in(image, edited, mask).float() / 255
    assert abs(float(result[0, 20, 20]) - float(edited[0, 20, 20])) < 1 / 255
    without_match = mask * edited[0] + (1 - mask) * 100 / 255
    at_the_seam = (mask > 0) & (mask < 0.5)
    error = (result[0] - 100 / 255).abs()[at_the_seam].mean()
    assert error < 0.6 * (without_match - 100 / 255).abs()[at_the_seam].mean()


def test_a_mask_of_the_whole_image_takes_the_edited_one() -> None:
    edited = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(1))
    result = set_in(torch.zeros(3, 6, 6, dtype=torch.uint8), edited, torch.ones(6, 6))
    assert torch.equal(result, (edited * 255).round().to(torch.uint8))


def test_a_mask_fades_at_the_sides_of_a_window_within_the_image_alone() -> None:
    faded = fade_at_window(torch.ones(10, 20), (slice(0, 10), slice(6, 20)), 4.0)
    assert (faded[:, :6] == 0).all()
    assert faded[0, 6:11].tolist() == [0.125, 0.375, 0.625, 0.875, 1.0]
    assert (faded[:, 10:] == 1).all()  # to the right, above and below it ends where the image does
