from __future__ import annotations

import time

import pytest
import torch

from fairlit.training.profiling.timing import PhaseTimer, peak_memory


def test_seconds_add_up_by_phase_and_are_collected_once() -> None:
    timer = PhaseTimer()
    begin = time.perf_counter()
    for _ in range(2):
        with timer.measure("outer"), timer.measure("inner"):
            time.sleep(0.02)
    whole = time.perf_counter() - begin
    seconds = timer.collect()
    assert list(seconds) == ["inner", "outer"]
    assert 0.04 <= seconds["inner"] <= seconds["outer"] <= whole
    assert timer.collect() == {}


def test_phases_that_fail_or_end_elsewhere() -> None:
    timer = PhaseTimer()
    with pytest.raises(KeyError), timer.measure("failing"):
        raise KeyError
    timer.start("open")
    timer.stop("never started")
    assert list(timer.collect()) == ["failing"]
    timer.stop("open")
    assert list(timer.collect()) == ["open"]


@pytest.mark.skipif(torch.cuda.is_initialized(), reason="counts the GPU's memory there")
def test_peak_memory_is_in_gibibytes() -> None:
    before = peak_memory()
    assert 0.01 < before < 100
    block = torch.ones(2**26)  # a quarter of a GiB
    grown = peak_memory()
    assert grown >= before
    assert grown >= block.numel() * 4 / 2**30
