from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fairlit.functional.alignment.assignment import UNDECIDED
from fairlit.functional.alignment.preservation import change_factors, image_factors, overlap_scale, scale_gradient

FACTORS = {"gender": 0.2, "race": 0.6, "age": 0.4}


SAMPLES = st.tuples(*[st.tuples(st.integers(0, 2), st.integers(-1, 2)) for _ in FACTORS])


@given(st.lists(SAMPLES, min_size=1, max_size=6))
def test_factors_against_a_loop(samples: list[tuple[tuple[int, int], ...]]) -> None:
    labels = {name: torch.tensor([sample[a][0] for sample in samples]) for a, name in enumerate(FACTORS)}
    originals = {name: torch.tensor([sample[a][1] for sample in samples]) for a, name in enumerate(FACTORS)}
    expected = []
    for sample in samples:
        changing = [
            FACTORS[name] for name, (wanted, original) in zip(FACTORS, sample, strict=True) if wanted != original
        ]
        expected.append(min(changing, default=1.0))
    found = change_factors(labels, originals, FACTORS)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.tensor(expected))


def test_a_case_done_by_hand() -> None:
    labels = {"gender": torch.tensor([0, 0, 0]), "age": torch.tensor([1, 1, 0])}
    originals = {"gender": torch.tensor([0, 1, -1]), "age": torch.tensor([1, 1, -1])}
    found = change_factors(labels, originals, {"gender": 0.5, "age": 0.25, "unused": 0.0})
    assert found.tolist() == [1.0, 0.5, 0.25]  # as it was; gender changes; no face then
    undecided = {"gender": torch.tensor([UNDECIDED] * 3), "age": labels["age"]}
    found = change_factors(undecided, originals, {"gender": 0.5, "age": 0.25})
    assert found.tolist() == [0.5, 0.5, 0.25]  # no class, not even that of a face which was not there
    with pytest.raises(ValueError, match="labels: empty"):
        change_factors({}, {}, {})


def test_values_stay_and_gradients_are_scaled() -> None:
    images = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    scale = torch.rand(2, 1, 4, 5, dtype=torch.float64)
    cotangent = torch.randn_like(images)
    scaled = scale_gradient(images, scale)
    assert torch.equal(scaled, images)
    (gradient,) = torch.autograd.grad(scaled, images, cotangent)
    torch.testing.assert_close(gradient, cotangent * scale)


def test_only_the_overlap_is_freed() -> None:
    boxes = torch.tensor([[1.0, 1.0, 5.0, 4.0], [0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0], [-3.0, 2.0, 9.0, 9.0]])
    originals = torch.tensor([[3.0, 2.0, 6.0, 6.0], [4.0, 4.0, 6.0, 6.0], [0.0, 0.0, 6.0, 6.0], [4.0, 0.0, 7.0, 9.0]])
    factors = torch.tensor([0.2, 0.3, 0.4, 0.5])
    scale = overlap_scale(boxes, originals, factors, image_index=torch.arange(4), size=(4, 6, 7))
    assert scale.shape == (4, 1, 6, 7)
    for sample, row, column in itertools.product(range(4), range(6), range(7)):
        x, y = column + 0.5, row + 0.5  # the centre of a pixel
        in_both = all(box[0] <= x < box[2] and box[1] <= y < box[3] for box in (boxes[sample], originals[sample]))
        assert scale[sample, 0, row, column] == pytest.approx(float(factors[sample]) if in_both else 1.0)
    assert (scale[0] < 1).sum() == 4  # columns 3, 4 and rows 2, 3
    assert (scale[1:3] == 1).all()  # boxes apart; no face
    assert (scale[3] < 1).sum() == 3 * 4


FACES = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.2, 0.5, 1.0])), max_size=8)


@given(FACES)
def test_an_image_keeps_what_its_most_changed_face_keeps(faces: list[tuple[int, float]]) -> None:
    index = torch.tensor([image for image, _ in faces], dtype=torch.long)
    found = image_factors(torch.tensor([factor for _, factor in faces]), index, 4, without_face=0.1)
    expected = [min((factor for at, factor in faces if at == image), default=0.1) for image in range(4)]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_where_freed_faces_overlap_the_smaller_factor_counts() -> None:
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [2.0, 0.0, 6.0, 4.0], [0.0, 0.0, 2.0, 2.0]])
    scale = overlap_scale(
        boxes, boxes, torch.tensor([0.5, 0.2, 0.7]), image_index=torch.tensor([0, 0, 1]), size=(3, 4, 6)
    )
    row = [0.5, 0.5, 0.2, 0.2, 0.2, 0.2]
    torch.testing.assert_close(scale[0, 0], torch.tensor([row] * 4))
    assert (scale[1] < 1).sum() == 4
    assert (scale[2] == 1).all()
