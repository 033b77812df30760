"""Which occupations a world has: the one of the committed models, and a larger one whose test occupations are new."""

from __future__ import annotations

from dataclasses import replace

from fairlit_miniature.further_occupations import read_occupations
from fairlit_miniature.occupations import OCCUPATIONS
from fairlit_miniature.subjects import Subject


def _large() -> tuple[Subject, ...]:
    """What was tested on in the small world has been looked at, and is trained on in the large one."""
    known = tuple(replace(job, split="train") if job.split == "test" else job for job in OCCUPATIONS)
    return (*known, *read_occupations())


WORLDS: dict[str, tuple[Subject, ...]] = {"small": OCCUPATIONS, "large": _large()}
