from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlit.errors import ConfigurationError
from fairlit.functional.statistics.counts import class_counts, joint_classes, marginal_counts, pair_counts

image = st.tuples(st.integers(0, 2), st.integers(-1, 1), st.integers(-1, 3))


@settings(max_examples=40, deadline=None)
@given(st.lists(image, min_size=1, max_size=30))
def test_counts_are_those_of_a_loop(images: list[tuple[int, int, int]]) -> None:
    prompts, gender, race = torch.tensor(images).unbind(dim=1)
    expected = torch.zeros(3, 2, 4, dtype=torch.int64)
    for prompt, first, second in images:
        if first >= 0 and second >= 0:
            expected[prompt, first, second] += 1
    cells = joint_classes(torch.stack([gender, race], dim=1), [2, 4])
    joint = class_counts(prompts, cells, prompts=3, classes=8).view(3, 2, 4)
    assert torch.equal(joint, expected)
    assert torch.equal(marginal_counts(joint, 1), expected.sum(dim=2))
    assert torch.equal(marginal_counts(joint, 2), expected.sum(dim=1))


@settings(max_examples=40, deadline=None)
@given(st.lists(image, min_size=1, max_size=30))
def test_pairs_are_those_of_a_loop(images: list[tuple[int, int, int]]) -> None:
    prompts, first, second = torch.tensor(images).unbind(dim=1)
    expected = torch.zeros(3, 4, 4, dtype=torch.int64)
    for prompt, one, other in images:
        if one >= 0 and other >= 0:
            expected[prompt, one, other] += 1
    assert torch.equal(pair_counts(prompts, first, second, prompts=3, classes=4), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i: joint_classes(i[:, None], [2, 2]), "one column for each of 2"),
        (lambda i: joint_classes(i[:, None], [2]), "labels reach from 0 to 2"),
        (lambda i: class_counts(i, i[:2], prompts=3, classes=3), r"shapes \(3,\) and \(2,\)"),
        (lambda i: class_counts(i, i, prompts=2, classes=3), "prompt_index reach from 0 to 2"),
        (lambda i: class_counts(i - 1, i, prompts=3, classes=3), "prompt_index reach from -1"),
        (lambda i: pair_counts(i, i, i, prompts=3, classes=2), "first reach from 0 to 2"),
        (lambda i: pair_counts(i, i, i[:2], prompts=3, classes=3), "give pairs"),
    ],
)
def test_bad_input_is_refused(call, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        call(torch.arange(3))
