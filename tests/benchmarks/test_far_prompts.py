"""Which prompts are certainly far from the target, counted by hand."""

from __future__ import annotations

from dataclasses import replace
from math import comb
from pathlib import Path

import pytest
from measured import measured_at, summary_of
from script_runs import load_script, run_script

from fairlit.results.record import Estimate


@pytest.mark.parametrize("count", [0, 3, 10, 15, 20])
def test_the_p_value_is_the_binomial_tail(count: int) -> None:
    def tail(share: float, counts: range) -> float:
        return sum(comb(20, n) * share**n * (1 - share) ** (20 - n) for n in counts)

    expected = min(1.0, 2 * min(tail(0.65, range(count, 21)), tail(0.35, range(count + 1))))
    assert load_script("far_prompts").beyond(count, 20, 0.5, 0.15) == pytest.approx(expected)


def test_runs_are_told_by_their_farthest_prompts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two prompts of 20 faces each, all of the first class before; after it 19 of 20, or 12 of 20."""
    runs = []
    for name, share in (("far", 0.95), ("near", 0.6)):
        (tmp_path / name).mkdir()
        point = measured_at(1.0, shares=(1.0, share), attributes=["gender", "age"])
        summary = summary_of([], {}, attributes=["gender", "age"])
        runs.append(replace(summary, before=point.before, after=point.after).write(tmp_path / name))
    run_script("far_prompts", *runs, "--most", 1)
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    p_value = load_script("far_prompts").beyond(19, 20, 0.5, 0.15)
    far = [row for row in rows if str(tmp_path / "far") in row[0]]
    assert next(row[2:] for row in far) == ["female", "20", "1.000", "0.950", f"{2 * p_value:.3f}"]  # Holm, of two
    assert [row[2:4] for row in rows] == [["female", "20"], ["young", "20"]] * 2
    assert next(row for row in rows if str(tmp_path / "near") in row[0])[6] == "1.000"


def test_prompts_of_one_p_value_stand_by_their_distance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    point = measured_at(1.0, shares=(1.0, 0.5))
    found = point.after.distribution
    shares = (0.55, 0.4)  # both nearer than 0.15
    entries = []
    for entry, share in zip(found.per_prompt, shares, strict=True):
        block = entry.attributes["gender"]
        frequencies = {"female": Estimate(share), "male": Estimate(1 - share)}
        entries.append(replace(entry, attributes={"gender": replace(block, frequencies=frequencies)}))
    after = replace(point.after, distribution=replace(found, per_prompt=tuple(entries)))
    run_script("far_prompts", replace(summary_of([], {}), before=point.before, after=after).write(tmp_path))
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[5] for row in rows] == ["0.400", "0.550"]
