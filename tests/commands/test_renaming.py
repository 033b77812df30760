"""Old names of settings: renamed on the command line and in config files, with a warning."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairlit.commands.renaming import RenamedKeys, RenamingParser
from fairlit.errors import ConfigurationError

KEYS = RenamedKeys(renamed={"people": "faces", "detector.enlarge": "detection.scale"}, removed={"gone": "give --here"})


class Parser(RenamingParser):
    renamed_keys = KEYS


def parser() -> Parser:
    made = Parser(exit_on_error=False)
    made.add_argument("--config", action="config")
    made.add_argument("--faces", type=str, default="largest")
    made.add_argument("--detection.scale", type=float, default=1.0)
    return made


@pytest.mark.parametrize("given", [["--people", "all"], ["--people=all"]])
def test_arguments(given: list[str]) -> None:
    with pytest.warns(FutureWarning, match="--people is now called --faces"):
        assert parser().parse_args(given).faces == "all"


def test_values_are_left_alone() -> None:
    assert KEYS.in_arguments(["--faces", "people", "people"]) == ["--faces", "people", "people"]


def test_config_file(tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text("people: all\ndetector: {enlarge: 2.0}\n")
    with pytest.warns(FutureWarning, match=r"detector.enlarge is now called detection.scale"):
        found = parser().parse_args(["--config", str(file)])
    assert (found.faces, found.detection.scale) == ("all", 2.0)


def test_arguments_of_somebody_else_s_class_are_not_renamed() -> None:
    keys = RenamedKeys(renamed={"detector.enlarge": "detection.scale"}, classes={"detector": "ours.Detector"})
    for given in (["--detector", "ours.Detector", "--detector.enlarge", "2"], ["--detector.enlarge", "2"]):
        with pytest.warns(FutureWarning):
            assert keys.in_arguments(given)[-2:] == ["--detection.scale", "2"]
    for given in (
        ["--detector=my.Own", "--detector.enlarge=2"],
        ["--detector.class_path", "my.Own", "--detector.enlarge=2"],
    ):
        assert keys.in_arguments(given) == given
    own: dict[str, object] = {"detector": {"class_path": "my.Own", "enlarge": 2}}
    assert keys.in_mapping(own) == own
    with pytest.warns(FutureWarning):
        assert keys.in_mapping({"detector": {"enlarge": 2}}) == {"detection": {"scale": 2}}


def test_new_names_win_over_nothing_and_clash_with_old_ones() -> None:
    assert KEYS.in_mapping({"faces": "all"}) == {"faces": "all"}
    with pytest.warns(FutureWarning), pytest.raises(ConfigurationError, match="people and faces: both are given"):
        KEYS.in_mapping({"faces": "all", "people": "largest"})


def test_what_is_gone_is_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigurationError, match="--gone: exists no more; give --here"):
        KEYS.in_arguments(["--gone", "1"])
    with pytest.raises(ConfigurationError, match="gone: exists no more"):
        KEYS.in_mapping({"gone": 1})
