"""What the experiments cost: counts of the published model, numbers of the configs."""

from __future__ import annotations

import re

import pytest
from script_runs import run_script


def test_costs_of_the_paper_s_experiments(capsys: pytest.CaptureFixture[str]) -> None:
    run_script("experiment_costs", "--tflops", "100")
    text = capsys.readouterr().out
    found = re.search(r"forward (\S+) TFLOP, backward (\S+) TFLOP", text)
    assert found is not None
    forward, backward = float(found[1]), float(found[2])
    assert forward == pytest.approx(0.80, abs=0.005)  # 0.4 TMAC an evaluation, as published for this U-Net
    assert backward > forward  # into queries, keys and values, but into no weight
    table = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    rows = {row[0]: row for row in table[1:]}
    assert list(rows) == ["1", "2", "3", "4", "5", "6"]
    assert rows["3"][1:3] == ["32", "15,000"]
    calls = 2 * 32 * 21 * 15_000
    for cell, (forwards, backwards) in zip(rows["3"][3:], [(4, 1), (3, 1), (2, 1), (1.25, 0.25)], strict=True):
        hours = calls * (forwards * forward + backwards * backward) / 100 / 3600
        assert float(cell) == pytest.approx(hours, rel=0.005)
