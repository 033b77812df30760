"""The help of fit, validate, test and predict: what people set, and nothing that is not there."""

from __future__ import annotations

import dataclasses
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import lightning as L
import pytest

from fairlit.cli import main
from fairlit.commands.fit_help import help_text
from fairlit.data import PromptDataModule
from fairlit.training import FairFinetuner

ROOT = Path(__file__).parents[2]
COMMANDS = ("fit", "validate", "test", "predict")


def options(command: str) -> list[str]:
    words = (line.split()[0] for line in help_text(command).splitlines() if line.startswith("  --"))
    return [word.removeprefix("--") for word in words]


@pytest.mark.parametrize("command", COMMANDS)
def test_it_fits_on_two_screens(command: str) -> None:
    lines = help_text(command).splitlines()
    assert len(lines) <= 120
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("command", COMMANDS)
def test_it_imports_nothing_heavy(command: str) -> None:
    code = (
        f"import sys; from fairlit.cli import main; main(['{command}', '--config', 'x', '--help'])\n"
        "print([name for name in ('torch', 'lightning', 'jsonargparse', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    *shown, heavy = done.stdout.splitlines()
    assert heavy == "[]"
    assert "\n".join(shown) == help_text(command)


def settings_of(entry: Any, prefix: str) -> set[str]:
    """The settings that a class takes, those of its dataclasses in their place."""
    hints = get_type_hints(entry if dataclasses.is_dataclass(entry) else entry.__init__)
    found = set()
    for name in inspect.signature(entry).parameters:
        part = hints.get(name)
        found |= settings_of(part, f"{prefix}.{name}") if dataclasses.is_dataclass(part) else {f"{prefix}.{name}"}
    return found


def special_cases() -> list[str]:
    """Settings that the help of fit names without a line of their own."""
    paragraph = help_text("fit").partition("For special cases")[2].partition("\n\n")[0]
    return re.findall(r"(?:model|data)\.[\w.]*\w", paragraph)


TESTED_ONLY = {
    *(f"model.sampling.evaluation_{name}" for name in ("guidance_scales", "step_counts", "strengths")),
    "data.test_split",
}


def test_the_help_of_fit_has_every_setting_of_model_and_data_but_what_only_tests_heed() -> None:
    special = special_cases()
    shown = options("fit") + special
    assert len(set(shown)) == len(shown)
    for prefix, entry in (("model", FairFinetuner), ("data", PromptDataModule)):
        listed = {name for name in shown if name.startswith(f"{prefix}.")}
        own = settings_of(entry, prefix)
        blocks = {name: {one for one in own if one.startswith(f"{name}.")} for name in special}
        assert set().union(*(blocks[name] or {name} for name in listed & blocks.keys())) <= own
        assert listed - blocks.keys() == own - TESTED_ONLY - set(special).union(*blocks.values())
    trainer = {name.removeprefix("trainer.") for name in shown if name.startswith("trainer.")}
    assert trainer < set(inspect.signature(L.Trainer).parameters)
    assert {"config", "ckpt_path", "dry_run", "help_all", "print_config"} < set(shown)


@pytest.mark.parametrize("command", COMMANDS[1:])
def test_the_other_commands_leave_out_what_only_training_needs(command: str) -> None:
    shown = options(command)
    assert set(shown) - set(options("fit")) == (TESTED_ONLY if command == "test" else set())
    assert ("special cases: data.naming." in help_text(command)) == (command == "test")  # whose test_images it heeds
    assert "model.sampling.evaluation_steps" in shown
    for name in ("dry_run", "model.gradient.mode", "model.alignment.threshold", "trainer.max_steps"):
        assert name not in shown


def test_defaults_and_choices_are_shown() -> None:
    lines = {line.split()[0]: line for line in help_text("fit").splitlines() if line.startswith("  --")}
    assert lines["--model.sampling.guidance_scale"].endswith("[7.5]")
    assert lines["--model.sampling.solver"].endswith("[pipeline; or dpm-solver++, ddim, euler, euler-ancestral, lcm]")


def test_choices_that_do_not_fit_are_left_out_whole() -> None:
    lines = {line.split()[0]: line for line in help_text("fit").splitlines() if line.startswith("  --")}
    assert lines["--model.faces"].endswith("faces of an image that count [largest; or all]")
    assert lines["--model.acceleration.attention"].endswith("attention kernel [auto; or torch]")


def test_help_all_is_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--help_all"])
    assert not stopped.value.code
    out = capsys.readouterr().out
    for name in options("fit"):
        if name.startswith("trainer.") or name in ("dry_run", "ckpt_path", "print_config", "seed_everything"):
            assert f"--{name}" in out
    assert "--trainer.limit_train_batches" in out
