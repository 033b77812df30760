"""Commands made from config classes: their defaults, examples, help, and what they share."""

from __future__ import annotations

import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

import fairlit
from fairlit.commands import audit, classifier, compare, edit, export, face_bank, generate, init, table
from fairlit.commands.method_names import METHODS
from fairlit.commands.parsing import ConfigCommand, build_parser
from fairlit.errors import ConfigurationError
from fairlit.mitigation import AttributeWords, Method

ROOT = Path(__file__).parents[2]
COMMANDS: list[Any] = [module.COMMAND for module in (audit, compare, edit, export, generate)]
EVERY_COMMAND: list[Any] = [
    *COMMANDS,
    *(
        entry
        for module in (classifier, face_bank, init, table)
        for entry in vars(module).values()
        if isinstance(entry, ConfigCommand)
    ),
]
MOST_LINES = {"audit": 120, "compare": 150, "edit": 120, "export": 120, "generate": 120}
named = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)


@named
def test_nothing_given_is_the_config_without_arguments(command: Any) -> None:
    found, expected = command.parse([]), command.config()
    for entry in fields(command.config):
        one, other = getattr(found, entry.name), getattr(expected, entry.name)
        assert (list(one) if isinstance(one, list | tuple) else one) == (
            list(other) if isinstance(other, list | tuple) else other
        ), entry.name


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=lambda command: command.name.replace(" ", "_"))
def test_null_is_refused_or_none(command: Any, tmp_path: Path) -> None:
    """Null is None where a setting may be None; a list of words without a name may be empty."""
    hints = get_type_hints(command.config)
    optional = {name for name, hint in hints.items() if type(None) in get_args(hint)}
    file = tmp_path / "config.yaml"
    for entry in fields(command.config):
        file.write_text(f"{entry.name}: null")
        if entry.name in optional or command.positional.get(entry.name) == "*":
            assert not build_parser(command).parse_args(["--config", str(file)])[entry.name]
        else:
            with pytest.raises(ConfigurationError, match=f"^{entry.name}: got null; expected "):
                build_parser(command).parse_args(["--config", str(file)])


def test_null_for_settings_of_a_method() -> None:
    command = generate.COMMAND
    for arguments in (["attribute_words", "--method.seed"], ["adaptor", "--method.path"]):
        with pytest.raises(ConfigurationError, match=r"^method\.init_args\.\w+: got (null; expected|nothing; Fin)"):
            command.parse(["a", "--method", *arguments, "null"])
    assert command.parse(["a", "--method", "attribute_words", "--method.after", "null"]).method.after is None


def test_arguments_of_a_class_of_ones_own() -> None:
    parsed = audit.COMMAND.parse
    whole = {"class_path": "my.Own", "init_args": {"share": "0.5", "ink": {"shade": "1"}}}
    inner = ["--detector.init_args.share", "0.5", "--detector.init_args.ink.shade=1"]
    for option in (["--detector", "my.Own"], ["--detector.class_path=my.Own"]):
        assert parsed([*option, *inner, "images"]).detector == whole
        assert parsed([*inner, *option, "--faces", "all"]).detector == whole
    assert parsed(["--classifier", "my.Own", "--classifier.init_args.a", "b"]).classifier["init_args"] == {"a": "b"}
    assert parsed(["--detector", "my.Own"]).detector == "my.Own"
    with pytest.raises(ConfigurationError, match=r"^classifier: got 'no/folder'; expected a class; give"):
        parsed(["--classifier", "no/folder", "--classifier.init_args.a", "b"])


@named
def test_examples_are_understood(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for example in command.examples:
        name, *arguments = shlex.split(example.replace("\\\n", " "))
        assert name == command.name
        while "--config" in arguments:  # some are the reader's own
            place = arguments.index("--config")
            del arguments[place : place + 2]
        command.parse(arguments)


@named
def test_help_is_short_and_says_what_every_setting_is(command: Any) -> None:
    text = build_parser(command).format_help()
    assert len(text.splitlines()) <= MOST_LINES[command.name]
    for entry in fields(command.config):
        assert entry.name in text
    assert "torch" not in text
    assert "Union[" not in text
    assert "(default: None)" not in text


@named
def test_printed_config_is_read_back(command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.parse(["--print_config"])
    assert not stopped.value.code
    file = tmp_path / "printed.yaml"
    file.write_text(capsys.readouterr().out)
    assert command.parse(["--config", str(file)]) == command.parse([])


def test_later_configs_and_arguments_win(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("images: 3\nsteps: 7\ndetection: {scale: 2.0, min_score: 0.5}\n")
    (tmp_path / "two.yaml").write_text("steps: 8\ndetection: {scale: 3.0}\n")
    configs = [f"--config={tmp_path / name}.yaml" for name in ("one", "two")]
    found = audit.COMMAND.parse([*configs, "--images", "4"])
    assert (found.images, found.steps) == (4, 8)
    assert (found.detection.scale, found.detection.min_score) == (3.0, 0.5)


def test_methods_by_their_short_names() -> None:
    found = generate.COMMAND.parse(["a chef", "--method", "attribute_words", "--method.after", "photo of"])
    assert isinstance(found.method, AttributeWords)
    assert found.method.after == "photo of"
    for path in METHODS.values():
        module, name = path.rsplit(".", 1)
        assert module == "fairlit.mitigation"
        assert issubclass(getattr(fairlit.mitigation, name), Method)


def test_every_problem_of_a_part_is_told_with_the_others() -> None:
    with pytest.raises(ConfigurationError, match="2 problems") as caught:
        audit.COMMAND.parse(["images", "--detection.scale", "-1", "--detection.min_score", "2"])
    assert "scale: got -1.0" in str(caught.value)
    assert "min_score: got 2.0" in str(caught.value)


def test_public_names() -> None:
    public = {"audit", "compare", "edit", "export", "generate", "AuditConfig", "CompareConfig", "EditConfig"}
    public |= {"ExportConfig", "GenerateConfig", "FaceDetection", "TargetDistribution", "functional", "__version__"}
    assert public <= set(dir(fairlit))
    for command in COMMANDS:
        function = getattr(fairlit, command.name)
        assert callable(function)
        assert function.__annotations__["config"] == command.config.__name__
