from __future__ import annotations

import math

import torch

from fairlit.faces import Faces
from fairlit.faces.crops import align_faces, crop_faces
from fairlit.faces.jitter import jitter_faces

BOXES = torch.tensor([[50.0, 40.0, 70.0, 80.0], [64.0, 44.0, 80.0, 60.0]])
POINTS = torch.tensor([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])


def faces() -> Faces:
    """Two faces in one image of 128 x 128, each with landmarks at the same places of its box."""
    landmarks = BOXES[:, None, :2] + POINTS * (BOXES[:, None, 2:] - BOXES[:, None, :2])
    return Faces(torch.zeros(2, dtype=torch.long), BOXES, torch.ones(2), landmarks, 1)


def test_boxes_are_shifted_by_shares_of_their_sides_and_grow_about_their_middle() -> None:
    moved = jitter_faces(faces(), torch.tensor([[1.0, -0.5, 0.0], [0.0, 0.0, 1.0]]), 0.1)
    shifted = BOXES[0] + torch.tensor([0.1 * 20, -0.05 * 40, 0.1 * 20, -0.05 * 40])
    half = 8 * math.exp(0.1)  # of a side of 16 about (72, 52)
    torch.testing.assert_close(
        moved.boxes, torch.stack([shifted, torch.tensor([72 - half, 52 - half, 72 + half, 52 + half])])
    )
    within = (moved.landmarks - moved.boxes[:, None, :2]) / (moved.boxes[:, None, 2:] - moved.boxes[:, None, :2])
    torch.testing.assert_close(within, POINTS.expand(2, 5, 2))


def test_both_kinds_of_crops_follow() -> None:
    """A crop of an image and the crop of the image moved by whole pixels, by faces moved alike, are the same."""
    torch.manual_seed(0)
    image = torch.rand(1, 3, 128, 128)
    there = torch.tensor([[2 / (0.1 * 20), 0.0, 0.0], [2 / (0.1 * 16), 0.0, 0.0]])  # two pixels to the right
    moved = jitter_faces(faces(), there, 0.1)
    for crop in (crop_faces, align_faces):
        torch.testing.assert_close(crop(image.roll(2, dims=3), moved, 16), crop(image, faces(), 16), atol=1e-5, rtol=0)


def test_no_faces_and_no_strength_change_nothing() -> None:
    assert len(jitter_faces(Faces.empty(3), torch.zeros(0, 3), 0.1)) == 0
    still = jitter_faces(faces(), torch.ones(2, 3), 0.0)
    torch.testing.assert_close(still.boxes, BOXES)
