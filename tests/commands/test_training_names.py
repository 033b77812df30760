"""Configs of fairlit 0.1.0 mean what they meant, and say which names have changed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fairlit.cli import main
from fairlit.commands.training_names import TRAINING
from fairlit.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
OLD_NAMES = {"image_loss_scale": "factor1", "face_gradient_scale": "factor2"}


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What ``fairlit fit`` understands of its arguments, every setting spelt out."""
    with pytest.raises(SystemExit) as stopped:
        main(["fit", *arguments, "--print_config"])
    assert stopped.value.code == 0
    return capsys.readouterr().out


def with_old_names(name: str, folder: Path) -> Path:
    """A shipped config as fairlit 0.1.0 spelt it."""
    text = (ROOT / "configs" / name).read_text()
    for new, old in OLD_NAMES.items():
        text = re.sub(rf"\b{new}:", f"{old}:", text)
    file = folder / Path(name).name
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    "names", [("demo.yaml", "demo/gender_skin_tone_age.yaml"), ("paper/sd15.yaml", "paper/exp4.yaml")]
)
def test_shipped_configs_with_old_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], names: tuple[str, ...]
) -> None:
    monkeypatch.chdir(ROOT)
    new_settings = ["--model.init_args.reference_images.noise_pool", "4"]
    new_settings += ["--model.init_args.gradient", "{mode: full, last_evaluations: 2}"]
    new = printed(capsys, *(f"--config={ROOT / 'configs' / name}" for name in names), *new_settings)
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("model: {init_args: {gradient: {mode: full, last_calls: 2}}}")
    files = [f"--config={with_old_names(name, tmp_path)}" for name in names] + [f"--config={overlay}"]
    with pytest.warns(FutureWarning) as caught:
        old = printed(capsys, *files, "--model.init_args.originals.noise_pool=4")
    assert old == new
    assert "noise_pool: 4" in new
    assert "last_evaluations: 2" in new
    messages = {str(warning.message) for warning in caught if warning.category is FutureWarning}
    for before, after in (
        ("model.init_args.preservation.factor1", "model.init_args.preservation.image_loss_scale"),
        ("model.init_args.preservation.factor2", "model.init_args.preservation.face_gradient_scale"),
        ("model.init_args.gradient.last_calls", "model.init_args.gradient.last_evaluations"),
        ("--model.init_args.originals.noise_pool", "--model.init_args.reference_images.noise_pool"),
    ):
        assert any(message.startswith(f"{before} is now called {after};") for message in messages), before


def test_every_old_name_has_its_new_one() -> None:
    given = {
        "model": {
            "class_path": "fairlit.training.FairFinetuner",
            "init_args": {
                "originals": {"with_rollout": False, "cache": None},
                "gradient": {"mode": "full", "last_calls": 1},
                "preservation": {"weight": 2.0, "factor1": {"gender": 0.2}, "factor2": {"gender": 0.3}},
            },
        },
        "data": {"init_args": {"originals": "of somebody's own data"}},
    }
    with pytest.warns(FutureWarning):
        changed = TRAINING.in_mapping(given)
    assert changed["model"]["init_args"] == {
        "reference_images": {"with_rollout": False, "cache": None},
        "gradient": {"mode": "full", "last_evaluations": 1},
        "preservation": {
            "weight": 2.0,
            "image_loss_scale": {"gender": 0.2},
            "face_gradient_scale": {"gender": 0.3},
        },
    }
    assert changed["data"] == given["data"]


def test_the_command_line_without_init_args() -> None:
    with pytest.warns(FutureWarning, match=r"--model\.originals\.cache is now called --model\.reference_images\.cache"):
        assert TRAINING.in_arguments(["--model.originals.cache", "x"]) == ["--model.reference_images.cache", "x"]


def test_an_old_and_a_new_name_together_are_refused() -> None:
    both = {"model": {"init_args": {"originals": {}, "reference_images": {}}}}
    with pytest.warns(FutureWarning), pytest.raises(ConfigurationError, match="both are given"):
        TRAINING.in_mapping(both)
