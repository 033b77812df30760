"""What becomes of dealt classes, counted by hand."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from result_files import old_file
from script_runs import run_script

from fairlit.functional.alignment.target_distribution import TargetDistribution
from fairlit.mitigation import Chunk
from fairlit.mitigation.class_words import joint_labels
from fairlit.results import ComparisonResults

TARGET = {"gender": {"female": 0.25, "male": 0.75}}
PROMPT, IMAGES, SEED = "a photo of a chef", 8, 3


def test_shares_of_what_was_dealt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two are to show women: one is perceived so, one has no face. Of six men one is perceived as a woman."""
    dealt = joint_labels(Chunk.whole(PROMPT, IMAGES), TargetDistribution.from_dict(TARGET), SEED).tolist()
    women, men = ([number for number in range(IMAGES) if dealt[number] == cell] for cell in (0, 1))
    assert (len(women), len(men)) == (2, 6)
    perceived = dict.fromkeys(men, 1) | {women[0]: 0, men[0]: 0}  # women[1] has no face
    settings = {"words": {"name": "attribute words", "seed": SEED}, "plain": {"name": "none"}}
    results = ComparisonResults.read(old_file("comparison"))
    method = next(iter(results.methods.values()))
    methods = {name: replace(method, settings=own) for name, own in settings.items()}
    replace(results, target=TARGET, images=IMAGES, methods=methods).write(tmp_path)
    with (tmp_path / "per_image.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["folder", "prompt", "number", "status", "gender:female", "gender:male"])
        for number in range(IMAGES):
            seen = ["face", *([0.9, 0.1] if perceived[number] == 0 else [0.2, 0.8])] if number in perceived else None
            writer.writerow(["words", PROMPT, number, *(seen or ["no face", "", ""])])
            writer.writerow(["plain", PROMPT, number, "face", 0.9, 0.1])
    run_script("obedience_table", tmp_path)
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert rows == [
        ["words", "female", "2", f"{1 / 2:.3f}", f"{1:.3f}"],
        ["words", "male", "6", f"{1:.3f}", f"{5 / 6:.3f}"],
    ]
