"""Matching by position against trying every assignment."""

from __future__ import annotations

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlit.functional.boxes.face_matching import match_faces, take_partners
from fairlit.functional.boxes.geometry import box_iou

BOX = st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(1, 6), st.integers(1, 6))
FACES = st.lists(st.tuples(st.integers(0, 2), BOX), max_size=5)


def tensors(faces: list[tuple[int, tuple[int, int, int, int]]]) -> tuple[torch.Tensor, torch.Tensor]:
    boxes = [[x, y, x + width, y + height] for _, (x, y, width, height) in faces]
    return torch.tensor([image for image, _ in faces]).long(), torch.tensor(boxes).float().view(-1, 4)


@settings(deadline=None)
@given(FACES, FACES)
def test_the_pairs_have_the_largest_overlap_there_is(
    first: list[tuple[int, tuple[int, int, int, int]]], second: list[tuple[int, tuple[int, int, int, int]]]
) -> None:
    (index, boxes), (other_index, others) = tensors(first), tensors(second)
    partners = match_faces(index, boxes, other_index, other_boxes=others, min_iou=0.0).tolist()
    overlaps = torch.where(index[:, None] == other_index[None], box_iou(boxes, others), -1.0)
    taken = [partner for partner in partners if partner >= 0]
    assert len(set(taken)) == len(taken)
    assert all(int(index[face]) == int(other_index[at]) for face, at in enumerate(partners) if at >= 0)
    # Everybody may stay alone: an overlap of 0 adds nothing.
    choices = [[None, *((overlaps[face] >= 0).nonzero()[:, 0].tolist())] for face in range(len(first))]
    best = max(
        sum(float(overlaps[face, at]) for face, at in enumerate(chosen) if at is not None)
        for chosen in itertools.product(*choices)
        if len({at for at in chosen if at is not None}) == sum(at is not None for at in chosen)
    )
    found = sum(float(overlaps[face, at]) for face, at in enumerate(partners) if at >= 0)
    assert abs(found - best) < 1e-5


def test_two_that_have_changed_places_are_matched_by_place_and_strangers_by_nobody() -> None:
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [10.0, 0.0, 14.0, 4.0], [20.0, 0.0, 24.0, 4.0]])
    others = torch.tensor([[9.0, 0.0, 14.0, 4.0], [1.0, 0.0, 4.0, 4.0], [30.0, 0.0, 34.0, 4.0]])
    here = torch.zeros(3, dtype=torch.long)
    assert match_faces(here, boxes, here, other_boxes=others).tolist() == [1, 0, -1]
    assert match_faces(here, boxes, here, other_boxes=others, min_iou=0.78).tolist() == [
        -1,
        0,
        -1,
    ]  # overlaps .75 and .8
    assert match_faces(here[:0], boxes[:0], here, other_boxes=others).tolist() == []
    assert match_faces(here, boxes, here[:0], other_boxes=others[:0]).tolist() == [-1, -1, -1]
    one_pixel = torch.tensor([[5.0, 5.0, 6.0, 6.0]])
    assert match_faces(here[:1], one_pixel, here[:1], other_boxes=one_pixel).tolist() == [0]


def test_rows_of_partners() -> None:
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert take_partners(rows, torch.tensor([1, -1]), 0.0).tolist() == [[3.0, 4.0], [0.0, 0.0]]
    assert take_partners(rows[:0], torch.tensor([-1]), 9.0).tolist() == [[9.0, 9.0]]
