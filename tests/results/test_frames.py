"""Tables of pandas by the figures that they are made of."""

from __future__ import annotations

import sys

import pytest
from measured import figures
from result_files import old_file

from fairlit.errors import ConfigurationError
from fairlit.results import AuditResults, ComparisonResults, RunSummary, ValidationResults
from fairlit.results.figures import JOINT

pytest.importorskip("pandas")


def test_an_audit_has_one_row_a_prompt_attribute_and_class() -> None:
    results = AuditResults.read(old_file("audit"))
    frame = results.to_frame()
    assert len(frame) == 3 * (2 + 4 + 2 * 4)  # prompts; gender, skin tone, and both
    entry = results.figures.per_prompt[1]
    rows = frame[(frame["prompt"] == entry.prompt) & (frame["attribute"] == "gender")].set_index("class")
    block = entry.attributes["gender"]
    assert rows.loc["female", "frequency"] == block.frequencies["female"].value
    assert rows.loc["female", "frequency_high"] == block.frequencies["female"].high
    assert rows.loc["male", "target"] == 0.5
    assert (rows["tv"] == block.tv.value).all()
    assert (rows["bias_floor"] == block.bias.floor).all()
    assert set(rows["outcome"]) == {block.outcome}


def test_averages_have_one_row_an_attribute_and_class() -> None:
    distribution = figures(0.7, ["gender", "age"]).distribution
    frame = distribution.to_frame(per="attribute").set_index(["attribute", "class"])
    assert len(frame) == 2 + 2 + 4
    assert frame.loc[("gender", "female"), "frequency"] == pytest.approx(0.7)
    assert frame.loc[("age", "old"), "target"] == 0.25
    assert frame.loc[(JOINT, "female/young"), "bias"] == distribution.blocks[JOINT].bias.value
    assert frame.loc[("gender", "male"), "tv_floor"] == distribution.attributes["gender"].tv.floor


def test_a_comparison_has_one_row_a_method_and_attribute() -> None:
    results = ComparisonResults.read(old_file("comparison"))
    frame = results.to_frame().set_index(["method", "attribute"])
    assert len(frame) == 3 * 3
    for name, method in results.methods.items():
        assert frame.loc[(name, JOINT), "tv"] == method.figures.blocks[JOINT].tv.value
        assert frame.loc[(name, "gender"), "clip_i"] == method.similarities.measured["clip_i"].value
        assert frame.loc[(name, "gender"), "unrelated_dino_low"] == method.unrelated.measured["dino"].low
        assert frame.loc[(name, "skin_tone"), "seconds_an_image"] == method.seconds_an_image


def test_a_run_has_one_row_a_group_variant_and_attribute() -> None:
    summary = RunSummary.read(old_file("summary"))
    frame = summary.to_frame()
    groups = {(group, variant) for group, variant in zip(frame["group"], frame["variant"], strict=True)}
    assert {("", "before"), ("", "after")} <= groups
    assert len(groups) == 2 + sum(map(len, summary.families.values()))
    row = frame[(frame["group"] == "") & (frame["variant"] == "after") & (frame["attribute"] == "gender")].iloc[0]
    bias = summary.after.distribution.attributes["gender"].bias
    assert (row["bias"], row["bias_low"], row["bias_high"], row["bias_floor"]) == (*bias_numbers(bias),)
    validation = ValidationResults.read(old_file("validation")).to_frame()
    assert set(validation["variant"]) == {"original", "finetuned", "ema"}


def bias_numbers(estimate: object) -> tuple[float, float, float, float]:
    return tuple(getattr(estimate, name) for name in ("value", "low", "high", "floor"))  # type: ignore[return-value]


def test_without_pandas_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigurationError, match=r"to_frame: got no pandas; .* run `pip install"):
        figures(0.7, ["gender"]).distribution.to_frame()
