from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from fairlit_miniature.report import readme, requirements, show_report, write_report


def figures(**changes: Any) -> dict[str, Any]:
    both = {"generated": [0.25, 0.75], "world": [0.3, 0.7]}
    return {
        "sampling": {"solver": "DPM-Solver++ 2M", "steps": 25, "guidance_scale": 4.0},
        "accuracy": {"a": {"gender": 0.99, "age": 0.98}, "b": {"gender": 1.0, "age": 0.975}},
        "vae_psnr": 27.0,
        "face_rate": 0.96,
        "word_obeyed": {"male": 0.99, "old": 0.92},
        "gender_bias": {"all": 0.7, "test": 0.85},
        "agreement": {"gender": 0.98, "age": 0.9},
        "size_mb": 30.0,
        "people_found": {"two": 1.8},
        "distance_to_world": {"gender": 0.05},
        "occupations": {"doctor": {"split": "train", "gender": both, "age": both}},
    } | changes


def test_a_good_miniature_meets_every_requirement() -> None:
    rows = requirements(figures())
    assert all(met for *_, met in rows)
    measured = [value for _, _, value, _ in rows]
    assert 0.975 in measured, "the worst classifier counts"
    assert 0.92 in measured, "the least obeyed word counts"


def test_what_is_missed_is_said() -> None:
    for changes, expected in (
        ({"vae_psnr": 20.0}, "PSNR"),
        ({"face_rate": 0.94}, "MTCNN"),
        ({"accuracy": {"a": {"gender": 0.9}}}, "accuracy"),
        ({"word_obeyed": {"male": 0.5, "old": 1.0}}, "word"),
        ({"gender_bias": {"all": 0.9, "test": 0.4}}, "bias"),
        ({"agreement": {"gender": 0.969, "age": 1.0}}, "say the same"),
        ({"size_mb": 41.0}, "size"),
    ):
        missed = [what for what, *_, met in requirements(figures(**changes)) if not met]
        assert len(missed) == 1
        assert expected in missed[0]
        assert "| no |" in readme(figures(**changes))


def test_files_and_printout(tmp_path: Path) -> None:
    write_report(figures(), tmp_path)
    assert json.loads((tmp_path / "checks.json").read_text()) == figures()
    assert "| doctor | train | 0.70 | 0.75 | 0.30 | 0.25 |" in (tmp_path / "README.md").read_text()
    console = Console(record=True, width=200)
    show_report(figures(), console)
    assert "0.96" in console.export_text()
