from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import nms

from fairlit.functional.boxes import suppression
from fairlit.functional.boxes.geometry import box_iou
from fairlit.functional.boxes.suppression import suppress_overlaps


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 60), st.sampled_from([0.25, 0.5, 0.7]), st.sampled_from([4, 256]))
def test_every_image_keeps_what_torchvision_keeps(seed: int, count: int, threshold: float, block: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, 12, (count, 2), generator=generator)
    boxes = torch.cat([corners, corners + torch.randint(1, 8, (count, 2), generator=generator)], dim=1).float()
    scores = torch.randperm(count, generator=generator) / 64  # no two alike: torchvision's order of equal ones is free
    image_index = torch.randint(0, 3, (count,), generator=generator)
    expected = torch.cat(
        [
            rows[nms(boxes[rows], scores[rows], threshold)]
            for rows in ((image_index == n).nonzero()[:, 0] for n in range(3))
        ]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suppression, "_BLOCK", block)
        kept = suppress_overlaps(boxes, scores, image_index, threshold=threshold)
    assert kept.tolist() == expected[scores[expected].argsort(descending=True)].tolist()


def test_a_box_that_is_driven_out_drives_nobody_out() -> None:
    boxes = torch.tensor([[0.0, 0.0, 10.0, 1.0], [3.0, 0.0, 13.0, 1.0], [6.0, 0.0, 16.0, 1.0]])
    assert box_iou(boxes, boxes)[0].tolist() == pytest.approx([1.0, 7 / 13, 4 / 16])
    scores, image_index = torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3, dtype=torch.long)
    assert suppress_overlaps(boxes, scores, image_index, threshold=0.5).tolist() == [0, 2]
    assert suppress_overlaps(boxes, scores, image_index, threshold=0.54).tolist() == [0, 1, 2]
    assert suppress_overlaps(boxes, scores, torch.tensor([0, 1, 0]), threshold=0.5).tolist() == [0, 1, 2]


def test_of_equal_scores_the_first_is_better() -> None:
    boxes, scores = torch.tensor([[0.0, 0.0, 2.0, 2.0]]).repeat(3, 1), torch.full((3,), 0.5)
    assert suppress_overlaps(boxes, scores, torch.tensor([1, 0, 1]), threshold=0.5).tolist() == [0, 1]
