"""Mistakes on the command line and in config files: one short message each, which names the remedy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from jsonargparse import ArgumentParser

from fairlit.commands.parser import PlainMessages
from fairlit.commands.parser_messages import locate, nearest
from fairlit.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class Detection:
    """Settings of a detector.

    Args:
        min_size: smallest side in pixels.
        scale: factor by which images grow.
    """

    min_size: float = 20.0
    scale: float = 1.0


@dataclass(frozen=True)
class Ink:
    """Ink.

    Args:
        shade: share of black.
    """

    shade: float = 0.5


class Brush:
    """A brush.

    Args:
        width: width in pixels.
        ink: what it is dipped into.
    """

    def __init__(self, width: int = 1, ink: Ink = Ink()) -> None:
        self.width, self.ink = width, ink


@dataclass(frozen=True, kw_only=True)
class Painting:
    """What to paint.

    Args:
        out: folder.
        images: number of images.
        solver: name of a solver.
        wet: whether it is wet.
        limit: largest number, or null.
        detection: settings of the detector.
        brush: what to paint with.
    """

    out: str
    images: int = 3
    solver: Literal["ddim", "euler"] = "ddim"
    wet: bool = False
    limit: float | None = None
    detection: Detection = field(default_factory=Detection)
    brush: Brush | None = None


BRUSH = f"{Brush.__module__}.Brush"


class Parser(PlainMessages, ArgumentParser):
    """The parser of a command."""


def parser() -> Parser:
    made = Parser(prog="fairlit paint")
    made.add_argument("--config", action="config")
    made.add_class_arguments(Painting, as_group=False)
    return made


def message(*arguments: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parser().parse_args(list(arguments))
    return str(caught.value)


def test_what_is_right_is_parsed() -> None:
    parsed = parser().parse_args(["--out", "x", "--images", "5", "--detection.scale", "2"])
    assert (parsed.out, parsed.images, parsed.detection.scale, parsed.limit) == ("x", 5, 2.0, None)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--images x", "images: got 'x'; expected a whole number"),
        ("--solver eulr", "solver: got 'eulr'; expected one of ddim, euler; did you mean euler?"),
        ("--solver zzz", "solver: got 'zzz'; expected one of ddim, euler"),
        ("--wet maybe", "wet: got 'maybe'; expected true or false"),
        ("--limit x", "limit: got 'x'; expected a number or null"),
        ("--imagse 3", "--imagse: unknown option; did you mean --images?"),
        ("--imag 3", "--imag: unknown option; did you mean --images?"),  # no abbreviations
        ("--zzzzzz 3", "--zzzzzz: unknown option; `fairlit paint --help` lists all"),
        ("--detection.min_siz=3", "--detection.min_siz: unknown option; did you mean --detection.min_size?"),
        ("--detection.scale x", "detection.scale: got 'x'; expected a number"),
        ("--images", "--images: got no value; expected one"),
        ("more", "more: got an argument too many; put values that hold spaces in quotes"),
    ],
)
def test_mistakes_on_the_command_line(arguments: str, expected: str) -> None:
    assert message("--out", "y", *arguments.split()) == expected


def test_missing_options_are_named() -> None:
    assert message() == "out: missing; give --out"


def test_mistakes_in_a_class_are_named_with_their_way() -> None:
    start = ("--out", "y", "--brush", BRUSH)
    assert message(*start, "--brush.width", "x") == "brush.init_args.width: got 'x'; expected a whole number"
    wrong = message(*start, "--brush.widht", "3")
    assert wrong == "brush.init_args.widht: unknown setting; did you mean brush.init_args.width?"
    unknown = message("--out", "y", "--brush", "Bursh")
    assert unknown == "brush: got 'Bursh'; expected the path of a class (my_module.MyClass) or null"


LAUGHS = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)  # lists of 11 values, of 10 * 11 + 1, ...: the fifth line stands for 111111


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("images: [3\nout: x\n", "config: FILE, line 2, column 4: no valid YAML, did not find expected ',' or ']'"),
        ("out: x\n\timages: 3\n", "config: FILE, line 2, column 1: no valid YAML, found a tab character"),
        (
            "images: 3\nout: x\nimages: 4\n",
            "config: FILE, line 3, column 1: no valid YAML, found the key 'images' a second",
        ),
        (
            "out: &a [*a]\n",
            "config: FILE, line 1, column 6: no valid YAML, found an alias of a value within that value",
        ),
        (LAUGHS, "config: FILE, line 5, column 5: no valid YAML, found aliases that make more than 100000 values"),
        (
            "out: " + "[" * 300 + "]" * 300,
            "config: FILE, line 1, column 106: no valid YAML, found more than 100 levels",
        ),
        ("out: !!int x\n", "config: FILE: no valid YAML, found a value that cannot be read (invalid literal for int()"),
        (
            "out: a\0b\n",
            "config: FILE: no valid YAML, found a value that cannot be read (unacceptable character",
        ),
        ("- a\n- b\n", "config: FILE holds no settings; expected a mapping, one `name: value` a line"),
        ("out: x\nimagse: 3\n", "imagse: unknown setting; did you mean images? (FILE, line 2, column 1)"),
        (
            "out: x\ndetection: {min_siz: 3}\n",
            "detection.min_siz: unknown setting; did you mean detection.min_size? (FILE, line 2, column 13)",
        ),
        ("out: x\n\nsolver: c\n", "solver: got 'c'; expected one of ddim, euler (FILE, line 3, column 1)"),
        (
            f"out: x\nbrush: {{class_path: {BRUSH}, init_args: {{widht: 3}}}}\n",
            "brush.init_args.widht: unknown setting; did you mean brush.init_args.width? (FILE, line 2, column ",
        ),
    ],
)
def test_mistakes_in_a_file_are_named_with_their_place(tmp_path: Path, content: str, expected: str) -> None:
    file = tmp_path / "paint.yaml"
    file.write_text(content)
    assert message("--config", str(file)).startswith(expected.replace("FILE", str(file)))


def test_mistakes_in_a_dataclass_of_a_class(tmp_path: Path) -> None:
    expected = "brush.init_args.ink.shad: unknown setting; did you mean brush.init_args.ink.shade?"
    assert message("--out", "y", "--brush", BRUSH, "--brush.ink.shad", "1") == expected
    file = tmp_path / "paint.yaml"
    file.write_text(f"out: x\nbrush:\n  class_path: {BRUSH}\n  init_args:\n    ink: {{shad: 1}}\n")
    assert message("--config", str(file)) == f"{expected} ({file}, line 5, column 11)"


def test_a_class_that_does_not_exist_is_named_with_the_nearest() -> None:
    wrong = message("--out", "y", "--brush", f"{Brush.__module__}.Burshes")
    near = f"{Brush.__module__}.Burshes; expected a class; did you mean {BRUSH}?"
    assert wrong == f"brush.class_path: got {near}"


def test_a_value_of_the_command_line_is_not_looked_for_in_files(tmp_path: Path) -> None:
    file = tmp_path / "paint.yaml"
    file.write_text(f"out: x\nimages: 3\nbrush: {{class_path: {BRUSH}, init_args: {{width: 3}}}}\n")
    assert message("--config", str(file), "--images", "x") == "images: got 'x'; expected a whole number"
    wrong = message("--config", str(file), "--brush.width", "x")
    assert wrong == "brush.init_args.width: got 'x'; expected a whole number"


def test_commands_within_a_parser(tmp_path: Path) -> None:
    """As in Lightning's command line: the files of a command are those of its own parser."""
    whole, file = Parser(prog="fairlit"), tmp_path / "paint.yaml"
    whole.add_subcommands().add_subcommand("paint", parser())
    file.write_text("out: x\nimagse: 3\n")
    with pytest.raises(ConfigurationError) as caught:
        whole.parse_args(["paint", "--config", str(file)])
    assert str(caught.value) == f"imagse: unknown setting; did you mean images? ({file}, line 2, column 1)"
    with pytest.raises(ConfigurationError) as caught:
        whole.parse_args(["paint", "--out", "x", "--solver", "dim"])
    assert str(caught.value) == "solver: got 'dim'; expected one of ddim, euler; did you mean ddim?"


def test_a_missing_file_is_named_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "paint.yaml").write_text("out: x\n")
    expected = f"config: got {tmp_path}/piant.yaml; expected an existing file; did you mean {tmp_path}/paint.yaml?"
    assert message("--config", str(tmp_path / "piant.yaml")) == expected
    assert (
        message("--config", str(tmp_path))
        == f"config: got {tmp_path}; expected an existing file; give one that is there"
    )


def test_the_last_file_that_holds_a_key_is_named(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("a:\n  b: 1\n")
    two.write_text("\na: {c: 1, b: 2}\n")
    assert locate([str(one), str(two)], "a.b") == f"{two}, line 2, column 11"
    assert locate([str(two), str(one)], "a.b") == f"{one}, line 2, column 3"
    assert locate([str(one)], "z") == ""
    assert locate([str(tmp_path / "none.yaml")], "a") == ""


def test_nearest() -> None:
    assert nearest("adit", ["audit", "edit"]) in ("audit", "edit")
    assert nearest("compaer", ["audit", "compare"]) == "compare"
    assert nearest("zzz", ["audit", "compare"]) is None
