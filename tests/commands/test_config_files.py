"""`--config` by name, and settings that name files of fairlit."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonargparse import ArgumentParser, Namespace

from fairlit.commands.config_files import ConfigFile, locate_shipped
from fairlit.errors import ConfigurationError
from fairlit.io import shipped

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def parser() -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("-c", "--config", action=ConfigFile)
    parser.add_argument("--trainer", type=dict | None)
    parser.add_argument("--seed", type=int, default=3)
    return parser


def test_names_paths_and_settings_are_laid_over_one_another(parser: ArgumentParser) -> None:
    Path("mine.yaml").write_text("seed: 5\ntrainer: {devices: 2}")
    by_name = parser.parse_args(["--config", "strategies/ddp"])
    assert by_name.trainer["devices"] == "auto"
    assert [Path(str(path)).stem for path in by_name.config] == ["ddp"]
    assert parser.parse_args(["--config", "strategies/ddp", "--config", "mine.yaml"]).trainer["devices"] == 2
    assert parser.parse_args(["-c", "mine.yaml", "--config={seed: 7}"]).seed == 7
    with pytest.raises(ConfigurationError, match="did you mean strategies/ddp"):
        parser.parse_args(["--config", "strategies/dpp"])


def test_paths_are_located_wherever_they_stand() -> None:
    given = Namespace(
        model="checkpoints/miniature/pipeline",
        prompts=["a photo", "configs/prompts/miniature.yaml"],
        methods={"attribute words": {"init_args": {"classifier": "checkpoints/miniature/classifier_train"}}},
        method=Namespace(class_path="a.B", init_args=Namespace(clip="checkpoints/miniature/clip", steps=3)),
        out="runs/demo",
        seed=None,
    )
    before = given.clone()
    found = locate_shipped(given)
    models = REPOSITORY / "checkpoints" / "miniature"
    assert found.model == str(models / "pipeline")
    assert found.prompts == ["a photo", str(REPOSITORY / "configs" / "prompts" / "miniature.yaml")]
    assert found.methods["attribute words"]["init_args"]["classifier"] == str(models / "classifier_train")
    assert (found.method.init_args.clip, found.method.init_args.steps) == (str(models / "clip"), 3)
    assert (found.out, found.seed, found.method.class_path) == ("runs/demo", None, "a.B")
    assert given == before


def test_without_the_example_models_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(shipped._OWNERS, "checkpoints", "no_such_package")
    given = Namespace(model="checkpoints/miniature/pipeline", clip="checkpoints/miniature/clip", out="runs")
    with pytest.raises(ConfigurationError, match="pip install fairlit-miniature") as error:
        locate_shipped(given)
    assert "checkpoints/miniature/pipeline, checkpoints/miniature/clip" in str(error.value)
    assert locate_shipped(Namespace(model="models/mine")).model == "models/mine"
