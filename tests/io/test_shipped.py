"""Paths of files that come with fairlit, with and without a checkout and the example models."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairlit.io import shipped
from fairlit.io.shipped import is_missing_example, locate, shipped_folder

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package as a wheel installs it, with models inside of it, in place of `fairlit_miniature`."""
    package = tmp_path / "site" / "example_models"
    (package / "checkpoints" / "miniature" / "pipeline").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setitem(shipped._OWNERS, "checkpoints", "example_models")
    return package


def test_outside_of_a_checkout_paths_lead_to_what_is_installed(elsewhere: Path) -> None:
    assert locate("configs/prompts/miniature.yaml") == str(REPOSITORY / "configs" / "prompts" / "miniature.yaml")
    assert locate("checkpoints/miniature/pipeline") == str(REPOSITORY / "checkpoints" / "miniature" / "pipeline")


def test_what_exists_here_goes_first(elsewhere: Path) -> None:
    (elsewhere / "configs" / "prompts").mkdir(parents=True)
    (elsewhere / "configs" / "prompts" / "miniature.yaml").touch()
    assert locate("configs/prompts/miniature.yaml") == "configs/prompts/miniature.yaml"


@pytest.mark.parametrize(
    "text",
    [
        "checkpoints/mine",
        "configs",
        "configs/",
        "configs/../pyproject.toml",
        "checkpoints/miniature\nis drawn",
        "/configs/demo.yaml",
        "openai/clip-vit-base-patch32",
        "",
    ],
)
def test_anything_else_stays_as_it_is(elsewhere: Path, text: str) -> None:
    assert locate(text) == text


def test_models_lie_inside_of_an_installed_package(elsewhere: Path, installed: Path) -> None:
    assert shipped_folder("checkpoints") == installed / "checkpoints"
    assert locate("checkpoints/miniature/pipeline") == str(installed / "checkpoints" / "miniature" / "pipeline")
    assert not is_missing_example("checkpoints/miniature/pipeline")


def test_example_models_that_are_not_installed(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(shipped._OWNERS, "checkpoints", "no_such_package")
    assert shipped_folder("checkpoints") is None
    assert locate("checkpoints/miniature/clip") == "checkpoints/miniature/clip"
    assert is_missing_example("checkpoints/miniature/clip")
    assert is_missing_example("checkpoints/landscape")
    assert not is_missing_example("checkpoints/mine")
    (elsewhere / "checkpoints" / "miniature").mkdir(parents=True)  # a copy of one's own, if incomplete
    assert not is_missing_example("checkpoints/miniature/clip")
