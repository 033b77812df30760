"""Every code block of the README and of the docs: Python runs, commands and configs are understood."""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonargparse
import pytest
import torch
import yaml
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from documents import ROOT, Block, code_blocks, shell_commands
from script_runs import load_script

from fairlit.adaptors import AdaptorMetadata, Lora
from fairlit.cli import main
from fairlit.data.prompts.sets import PromptSet

LANGUAGES = {"bash", "python", "yaml"}
OTHER_PROGRAMS = {"pip", "tensorboard"}
MINIATURE = "checkpoints/miniature/pipeline"


class UnderstoodError(Exception):
    """Raised in place of what a command would do once its arguments are parsed."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder that looks like the repository and keeps what is written out of it."""
    for name in ("configs", "checkpoints"):
        (tmp_path / name).symlink_to(ROOT / name)
    models = {"backbone": MINIATURE, "classifier": "checkpoints/miniature/classifier_train"}
    (tmp_path / "my_models.yaml").write_text(yaml.safe_dump({"model": {"init_args": {"models": models}}}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever parses arguments stops when that is done."""
    for parser in (argparse.ArgumentParser, jsonargparse.ArgumentParser):
        whole = parser.parse_args

        def stop(self: Any, *args: Any, whole: Any = whole, **kwargs: Any) -> None:
            whole(self, *args, **kwargs)
            raise UnderstoodError

        monkeypatch.setattr(parser, "parse_args", stop)


def check_command(command: Sequence[str]) -> None:
    """Parses the arguments of a command as the program itself does."""
    program, *arguments = command
    if program in ("torchrun", "srun"):  # which start fairlit, many times
        start = next(number for number, word in enumerate(arguments) if word in ("fairlit", "fairlit.cli"))
        program, arguments = "fairlit", arguments[start + 1 :]
    if program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in arguments if "=" not in word} <= set(targets)
    elif program == "fairlit":
        with pytest.raises(UnderstoodError):
            main(arguments)
    elif program == "python":
        path = ROOT / arguments[0]
        assert path.is_file()
        script = load_script(path.stem)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", arguments)
            with pytest.raises(UnderstoodError):
                script.main()
    else:
        assert program in OTHER_PROGRAMS, f"no test knows what {' '.join(command)!r} means"


def test_blocks_name_their_language() -> None:
    assert {block.language for block in code_blocks()} <= LANGUAGES


@pytest.mark.usefixtures("parsed")
@pytest.mark.parametrize("block", code_blocks("bash"), ids=str)
def test_commands_are_understood(block: Block, folder: Path) -> None:
    commands = shell_commands(block.code, folder)
    assert commands
    for command in commands:
        check_command(command)


def test_commands_that_are_wrong_are_found(parsed: None, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = "fairlit fit --config configs/demo.yaml --trainer.max_stepz 3"
    [command] = shell_commands(code, folder)
    with pytest.raises(SystemExit):
        check_command(command)
    assert "max_stepz" in capsys.readouterr().err
    with pytest.raises(AssertionError, match="no test knows"):
        check_command(["fairlitt", "fit"])
    with pytest.raises(AssertionError):
        check_command(["make", "nonsense"])


@pytest.mark.usefixtures("parsed")
@pytest.mark.parametrize("block", code_blocks("yaml"), ids=str)
def test_configs_are_understood(block: Block, folder: Path) -> None:
    path = folder / "block.yaml"
    path.write_text(block.code)
    if "families" in yaml.safe_load(block.code):
        sports = folder / "path" / "to" / "sports.json"
        sports.parent.mkdir(parents=True)
        prompts = {f"{split}_prompts": [f"a person playing {split}"] for split in ("train", "val", "test")}
        sports.write_text(json.dumps(prompts))
        assert len(PromptSet.from_file(path).select("train")) > 2
    else:
        check_command(["fairlit", "fit", "--config", "configs/demo.yaml", "--config", str(path)])


@pytest.fixture
def trained(folder: Path) -> None:
    """An adaptor where `make demo` leaves one."""
    pipeline = StableDiffusionPipeline.from_pretrained(MINIATURE, safety_checker=None, local_files_only=True)
    adaptor = Lora(rank=2)
    adaptor.attach(pipeline)
    adaptor.save(folder / "runs" / "demo" / "adaptor_ema", pipeline, AdaptorMetadata(base_model=MINIATURE))


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("block", code_blocks("python"), ids=str)
def test_python_runs(block: Block) -> None:
    """With what the text around the blocks presupposes: classifier outputs, a scheduler, torch."""
    halves = torch.full((8, 2), 0.5)
    given = {
        "torch": torch,
        "probabilities": {"gender": halves, "age": halves},
        "scheduler": DPMSolverMultistepScheduler(),
    }
    exec(compile(ast.parse(block.code), str(block), "exec"), given)
