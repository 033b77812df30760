"""Which image shows what."""

from __future__ import annotations

import torch

from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.mitigation import Chunk
from fairlit.mitigation.class_words import dealt_classes, joint_labels

TARGET = TargetDistribution({"gender": {"female": 0.25, "male": 0.75}, "skin_tone": {"light": 0.5, "very_dark": 0.5}})


def test_shares_hold_over_the_set_whatever_the_chunks() -> None:
    whole = joint_labels(Chunk.whole("a doctor", 16), TARGET, 0)
    assert whole.bincount().tolist() == [2, 2, 6, 6]
    parts = [joint_labels(Chunk("a doctor", [place], 16), TARGET, 0) for place in range(16)]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(joint_labels(Chunk.whole("a nurse", 16), TARGET, 0), whole)
    assert not torch.equal(joint_labels(Chunk.whole("a doctor", 16), TARGET, 1), whole)


def test_dealt_classes_are_what_the_labels_stand_for() -> None:
    chunk = Chunk("a doctor", [7, 2, 11], 16)
    names = [(gender, tone) for gender in ("female", "male") for tone in ("light", "very_dark")]  # row-major
    expected = [
        dict(zip(("gender", "skin_tone"), names[label], strict=True)) for label in joint_labels(chunk, TARGET, 3)
    ]
    assert dealt_classes(chunk, TARGET, 3) == expected
