"""The front page: answered before anything heavy is imported; and one line where disk or network let a command down."""

from __future__ import annotations

import errno
import os
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import fairlit
from fairlit.cli import front_page, main
from fairlit.commands import COMMANDS, EXAMPLES
from fairlit.errors import surroundings_error

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "numpy", "lightning", "diffusers", "transformers", "jsonargparse", "yaml", "rich")


def run_door(*arguments: str) -> tuple[int, str, str, list[str]]:
    """Status, stdout, stderr and the heavy modules that ``fairlit ARGUMENTS`` has imported."""
    code = (
        "import sys, atexit\n"
        f"atexit.register(lambda: print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr))\n"
        f"from fairlit.cli import main\nmain({list(arguments)})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    *rest, heavy = done.stderr.splitlines()
    return done.returncode, done.stdout, "\n".join(rest), eval(heavy)


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"], ["help"]])
def test_the_front_page_names_every_command_and_imports_nothing(arguments: list[str]) -> None:
    status, out, err, heavy = run_door(*arguments)
    assert (status, err, heavy) == (0, "", [])
    lines = out.splitlines()
    for command in COMMANDS.values():
        assert f"  {command.name} " in out
        assert sum(line.split()[:1] == [command.name] for line in lines) == 1
        assert f"{command.group}:" in lines
    assert sum(line.strip() in EXAMPLES for line in lines) == len(EXAMPLES) == 3
    assert len(lines) <= 40
    assert out.strip() == front_page()


def test_the_version() -> None:
    status, out, _, heavy = run_door("--version")
    assert (status, out, heavy) == (0, f"fairlit {fairlit.__version__}\n", [])
    assert "__version__" in dir(fairlit)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["adit"], "adit: unknown command; did you mean audit?"),
        (["compaer", "--help"], "compaer: unknown command; did you mean compare?"),
        (["xyzzy"], "xyzzy: unknown command; commands: init, fit, validate, "),
        (
            ["--config", "demo.yaml", "fit"],
            "--config: got an option before the command; write `fairlit fit --config ...",
        ),
        (["--verbose"], "--verbose: unknown option; begin with a command: init, fit, validate, "),
    ],
)
def test_unknown_words(arguments: list[str], message: str) -> None:
    status, out, err, heavy = run_door(*arguments)
    assert (status, out, heavy) == (2, "", [])
    assert err.startswith(f"fairlit: {message}")
    assert len(err.splitlines()) == 1


def test_every_command_has_a_module_that_runs_it_and_a_summary_of_one_line() -> None:
    for command in COMMANDS.values():
        assert (ROOT / (command.module.replace(".", "/") + ".py")).is_file()
        assert len(command.summary) + len(command.name) < 100
        assert not command.summary.endswith(".")


def test_examples_begin_with_commands() -> None:
    for example in EXAMPLES:
        assert example.split()[0] == "fairlit"
        assert example.split()[1] in COMMANDS


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "from fairlit.cli import main; main(['--help'])"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.wait()


def failing(number: int, path: str = "out/images") -> OSError:
    return OSError(number, os.strerror(number), path)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, "out/images: the disk is full; free some space"),
        (errno.EACCES, "out/images: cannot be opened (Permission denied); give a place"),
        (errno.EROFS, "out/images: cannot be opened (Read-only file system); give a place"),
        (errno.ENOTDIR, "out/images: Not a directory; check the path"),
    ],
)
def test_what_the_system_says_becomes_one_line(number: int, expected: str) -> None:
    message = surroundings_error(failing(number))
    assert message is not None
    assert message.startswith(expected)
    assert "\n" not in message


def test_errors_that_led_to_an_error_are_looked_at() -> None:
    outer = RuntimeError("cannot save")
    outer.__cause__ = failing(errno.ENOSPC)
    assert (surroundings_error(outer) or "").startswith("out/images: the disk is full")
    outer = RuntimeError("cannot save")
    outer.__context__ = failing(errno.ENOSPC)
    assert (surroundings_error(outer) or "").startswith("out/images: the disk is full")


def test_bugs_are_not_explained_away() -> None:
    assert surroundings_error(KeyError("name")) is None
    assert surroundings_error(ZeroDivisionError()) is None
    loop = RuntimeError("a")
    loop.__context__ = RuntimeError("b")
    assert surroundings_error(loop) is None


def test_a_full_disk_met_by_torch_and_safetensors() -> None:
    """Both write on their own; /dev/full is a disk that is always full."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    import torch
    from safetensors import SafetensorError

    with pytest.raises(RuntimeError) as caught:
        torch.save(torch.zeros(100_000), "/dev/full")
    assert "the disk is full" in (surroundings_error(caught.value) or "")
    error = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert "the disk is full" in (surroundings_error(error) or "")


def test_a_hub_that_cannot_be_reached() -> None:
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    for error in (LocalEntryNotFoundError("Cannot find the file"), OfflineModeIsEnabled("offline")):
        message = surroundings_error(error) or ""
        assert message.startswith("model hub: cannot be reached")
        assert "give the folder of a model" in message


def test_an_unwritable_folder_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "burn.py").write_text(
        "from pathlib import Path\ndef run(args): (Path(args[0]) / 'below').mkdir(parents=True)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(COMMANDS, "burn", COMMANDS["audit"]._replace(name="burn", module="burn"))
    with pytest.raises(SystemExit) as stopped:
        main(["burn", str(tmp_path / "file")])
    assert stopped.value.code == 1
    message = capsys.readouterr().err
    assert message.startswith(f"fairlit: {tmp_path / 'file' / 'below'}: ")
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("example", EXAMPLES[1:])
def test_the_examples_of_the_front_page_are_understood(example: str) -> None:
    _, name, *arguments = shlex.split(example)
    command = import_module(COMMANDS[name].module).COMMAND
    assert command.parse(arguments).out is not None
