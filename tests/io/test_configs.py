"""Configs by path and by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairlit.errors import ConfigurationError
from fairlit.io.configs import config_names, find_config

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_config_has_a_name() -> None:
    assert len(config_names()) == len(list(CONFIGS.rglob("*.yaml")))
    for name in config_names():
        for spelling in (name, f"{name}.yaml", f"configs/{name}", f"configs/{name}.yaml", f"./configs/{name}.yaml"):
            assert find_config(spelling) == CONFIGS / f"{name}.yaml"


def test_a_file_that_exists_goes_first_and_a_folder_does_not() -> None:
    Path("demo").mkdir()
    assert find_config("demo") == CONFIGS / "demo.yaml"
    Path("presets").mkdir()
    Path("presets/24gb").write_text("a: 1")
    assert find_config("presets/24gb") == Path("presets/24gb")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("dmeo", "demo"),
        ("paper/exp33", "paper/exp3"),
        ("configs/preset/24gb.yaml", "presets/24gb"),
        ("quite else", None),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(name: str, nearest: str | None) -> None:
    with pytest.raises(ConfigurationError, match="expected a file, or the name of a config") as error:
        find_config(name)
    assert f"got {name!r}" in str(error.value)
    assert ("did you mean" in str(error.value)) == (nearest is not None)
    assert f"did you mean {nearest}?" in str(error.value) or nearest is None
    assert str(CONFIGS) in str(error.value)


def test_names_do_not_lead_out_of_the_configs() -> None:
    with pytest.raises(ConfigurationError):
        find_config("../pyproject")
