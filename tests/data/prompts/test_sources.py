from __future__ import annotations

from pathlib import Path

import pytest

from fairlit.data.prompts.sources import read_prompts
from fairlit.errors import ConfigurationError


def texts(*args: object, **kwargs: object) -> list[str]:
    return [prompt.text for prompt in read_prompts(*args, **kwargs)]  # type: ignore[arg-type]


def test_prompts_from_everywhere(tmp_path: Path, tiny_prompts: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("# a comment\n\n  a chef \na nurse\na chef\n")
    assert texts(["a", "b", "a"]) == ["a", "b"]
    assert texts(file=str(lines)) == ["a chef", "a nurse"]
    assert texts(file=str(tiny_prompts)) == ["a photo of the face of a farmer", "a photo of the face of a man"]
    assert texts(file=str(tiny_prompts), families=["people"], split="val")[0] == "a photo of the face of a chef"


def test_faults_are_named(tmp_path: Path, tiny_prompts: Path) -> None:
    (tmp_path / "empty.txt").write_text("#\n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\xff")
    for arguments, message in (
        ({}, "on the command line or with --prompts"),
        ({"texts": ["a"], "file": "x"}, "on the command line or with --prompts"),
        ({"texts": [" "]}, "all are empty"),
        ({"file": str(tmp_path / "empty.txt")}, "all are empty"),
        ({"file": str(tmp_path / "none.txt")}, "cannot read"),
        ({"file": str(tmp_path / "bytes.txt")}, "no UTF-8 text"),
        ({"texts": ["a"], "families": ["x"]}, "leave --families away"),
        ({"file": str(tiny_prompts), "families": ["x"]}, "has no 'x'"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            read_prompts(**arguments)  # type: ignore[arg-type]
