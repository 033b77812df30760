"""Words of classes, and which image shows what."""

from __future__ import annotations

import torch

from fairlit.errors import Problems
from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.mitigation import Chunk
from fairlit.mitigation.class_words import check_words, joint_labels, phrases, words_by_attribute

TARGET = TargetDistribution({"gender": {"female": 0.25, "male": 0.75}, "skin_tone": {"light": 0.5, "very_dark": 0.5}})


def test_words_in_the_order_of_the_config_and_of_the_table() -> None:
    words = {"skin_tone": {"light": "light-skinned"}}
    assert phrases(words, TARGET) == [
        "light-skinned female",
        "very dark female",
        "light-skinned male",
        "very dark male",
    ]
    assert words_by_attribute(words, TARGET) == [["female", "male"], ["light-skinned", "very dark"]]


def test_shares_hold_over_the_set_whatever_the_chunks() -> None:
    whole = joint_labels(Chunk.whole("a doctor", 16), TARGET, 0)
    assert whole.bincount().tolist() == [2, 2, 6, 6]
    parts = [joint_labels(Chunk("a doctor", [place], 16), TARGET, 0) for place in range(16)]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(joint_labels(Chunk.whole("a nurse", 16), TARGET, 0), whole)
    assert not torch.equal(joint_labels(Chunk.whole("a doctor", 16), TARGET, 1), whole)


def test_all_that_is_wrong_with_words_at_once() -> None:
    problems = Problems("words")
    check_words({"age": {"young": "young"}, "gender": {"diverse": "x", "female": "male"}}, TARGET, problems)
    assert len(problems.messages) == 3
    assert "'age' is no attribute of the target" in problems.messages[0]
    assert "'diverse' is no class of 'gender'" in problems.messages[1]
    assert "classes of 'gender' are called 'male'" in problems.messages[2]
