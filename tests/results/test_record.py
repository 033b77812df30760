"""Records become flat JSON and come back equal."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from fairlit.errors import ConfigurationError
from fairlit.results.record import (  # fmt: skip
    MERGED,
    NO_INTERVAL,
    OPTIONAL_KEY,
    REST,
    Estimate,
    Interval,
    PlainData,
    Record,
    decode,
    encode,
    with_floor,
)


@dataclass(frozen=True, kw_only=True)
class Inner(Record):
    count: int
    limits: Interval


@dataclass(frozen=True, kw_only=True)
class Outer(Record):
    bias: Estimate = field(metadata=with_floor("noise"))
    plain: Estimate = field(metadata=NO_INTERVAL)
    shares: Mapping[str, Estimate]
    inner: Inner = field(metadata=MERGED)
    by_number: Mapping[int, tuple[Inner, ...]]
    mean: float
    maybe: float | None = field(default=None, metadata=OPTIONAL_KEY)
    nothing: str | None
    rest: PlainData = field(default_factory=dict, metadata=REST)


def outer(**changes: object) -> Outer:
    made: dict[str, object] = {
        "bias": Estimate(0.2, 0.1, 0.3, 0.05),
        "plain": Estimate(0.5),
        "shares": {"a": Estimate(0.75, 0.5, 1.0), "b": Estimate(0.25)},
        "inner": Inner(count=3, limits=(0.0, float("nan"))),
        "by_number": {2: (Inner(count=1, limits=(0.0, 1.0)),)},
        "mean": float("nan"),
        "nothing": None,
        "rest": {"steps": 12},
    }
    return Outer(**(made | changes))  # type: ignore[arg-type]


def test_json_is_flat_and_unknown_numbers_are_null() -> None:
    assert encode(outer()) == {
        "bias": 0.2,
        "bias_ci": [0.1, 0.3],
        "noise": 0.05,
        "plain": 0.5,
        "shares": {"a": 0.75, "b": 0.25},
        "shares_ci": {"a": [0.5, 1.0], "b": [None, None]},
        "count": 3,
        "limits": [0.0, None],
        "by_number": {"2": [{"count": 1, "limits": [0.0, 1.0]}]},
        "mean": None,
        "nothing": None,
        "steps": 12,
    }


@pytest.mark.parametrize("maybe", [None, 0.5, float("nan")])
def test_what_was_written_comes_back_equal(maybe: float | None) -> None:
    record = outer(maybe=maybe, mean=0.25)
    read = decode(Outer, json.loads(json.dumps(encode(record), allow_nan=False)), "file")
    assert read == record
    assert (read.maybe is None) is (maybe is None)
    assert math.isnan(read.inner.limits[1])
    assert list(read.by_number) == [2]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("bias", "much", "file: bias: got 'much'; expected a number"),
        ("count", 1.5, "file: count: got 1.5; expected a whole number"),
        ("count", True, "file: count: got True; expected a whole number"),
        ("limits", [0.0], r"file: limits: got \[0.0\]; expected a list"),
        (
            "by_number",
            {"2": [{"limits": [0, 1]}]},
            "file: by_number.2: count: got no such key; expected a whole",
        ),
        ("shares", [], r"file: shares: got \[\]; expected an object"),
    ],
)
def test_what_does_not_fit_is_named(key: str, value: object, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        decode(Outer, encode(outer()) | {key: value}, "file")


def test_missing_keys_and_other_content_are_named() -> None:
    content = encode(outer())
    del content["by_number"]
    with pytest.raises(ConfigurationError, match="file: by_number: got no such key"):
        decode(Outer, content, "file")
    with pytest.raises(ConfigurationError, match="file: got 3; expected an object"):
        decode(Outer, 3, "file")


def test_the_other_way_round_a_difference_has_the_other_sign() -> None:
    assert -Estimate(0.2, 0.1, 0.4, floor=0.1) == Estimate(-0.2, -0.4, -0.1)
    assert not Estimate(float("nan")).known


def test_results_are_read_without_torch_numpy_or_pandas() -> None:
    code = "import sys, fairlit.results\nprint([name for name in ('torch', 'numpy', 'pandas') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
