"""Differences of methods, whichever way round."""

from __future__ import annotations

import pytest
from result_files import old_content, old_file

from fairlit.results import ComparisonResults
from fairlit.results.figures import JOINT


def test_a_difference_is_given_either_way_round() -> None:
    results = ComparisonResults.read(old_file("comparison"))
    [entry] = [
        entry
        for entry in old_content("comparison")["differences"]
        if {entry["first"], entry["second"]} == {"none", "attribute words"}
    ]
    one = results.difference(entry["first"], entry["second"])
    other = results.difference(entry["second"], entry["first"])
    low, high = entry["joint"]["tv_ci"]
    assert one.blocks[JOINT].tv.value == entry["joint"]["tv"] == -other.blocks[JOINT].tv.value
    assert (one.blocks[JOINT].tv.interval, other.blocks[JOINT].tv.interval) == ((low, high), (-high, -low))
    assert other.similarities.measured["clip_i"].value == -entry["similarities"]["clip_i"]
    assert (other.first, other.second) == (one.second, one.first)
    assert -other == one


def test_what_was_not_compared_is_no_difference() -> None:
    results = ComparisonResults.read(old_file("comparison"))
    with pytest.raises(KeyError, match="no difference of 'none' and 'other'"):
        results.difference("none", "other")
