"""Which image shows what."""

from __future__ import annotations

import torch

from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.mitigation import Chunk
from fairlit.mitigation.class_words import joint_labels

TARGET = TargetDistribution({"gender": {"female": 0.25, "male": 0.75}, "skin_tone": {"light": 0.5, "very_dark": 0.5}})


def test_shares_hold_over_the_set_whatever_the_chunks() -> None:
    whole = joint_labels(Chunk.whole("a doctor", 16), TARGET, 0)
    assert whole.bincount().tolist() == [2, 2, 6, 6]
    parts = [joint_labels(Chunk("a doctor", [place], 16), TARGET, 0) for place in range(16)]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(joint_labels(Chunk.whole("a nurse", 16), TARGET, 0), whole)
    assert not torch.equal(joint_labels(Chunk.whole("a doctor", 16), TARGET, 1), whole)
